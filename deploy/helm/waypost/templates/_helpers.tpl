{{- define "waypost.name" -}}
{{ ternary .Release.Name (printf "%s-waypost" .Release.Name) (contains "waypost" .Release.Name) | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "waypost.selector" -}}
app.kubernetes.io/name: waypost
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "waypost.labels" -}}
{{ include "waypost.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "waypost.image" -}}
{{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}

{{- define "waypost.secretName" -}}
{{ .Values.secret.existing | default (include "waypost.name" .) }}
{{- end }}

{{- define "waypost.isEmbedded" -}}
{{ if eq .Values.database.kind "embedded" }}yes{{ end }}
{{- end }}

{{/* What is wrong with the values beyond their schema. */}}
{{- define "waypost.check" -}}
{{- if and (not .Values.secret.existing) (not .Values.secret.create) }}
{{- fail "Name the secret that holds the keys (secret.existing), or give its entries (secret.create): at least WAYPOST_ADMIN_KEY and WAYPOST_METRICS_TOKEN." }}
{{- end }}
{{- if and (include "waypost.isEmbedded" .) (or (gt (int .Values.server.replicas) 1) .Values.autoscaling.enabled) }}
{{- fail "database.kind embedded is one SQLite file: set server.replicas to 1 and autoscaling.enabled to false, or take postgresql." }}
{{- end }}
{{- if and (not .Values.secret.existing) (not (include "waypost.isEmbedded" .)) (not .Values.secret.create.WAYPOST_DATABASE_URL) }}
{{- fail "database.kind postgresql needs WAYPOST_DATABASE_URL in the secret: postgresql://user:password@host/database" }}
{{- end }}
{{- end }}

{{/* A pod's part that is alike everywhere. Takes a dict: root, and part (server, worker or migrations). */}}
{{- define "waypost.pod" -}}
serviceAccountName: {{ include "waypost.name" .root }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .values }}
{{- with .nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{ toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{/* A container's part that is alike everywhere. */}}
{{- define "waypost.container" -}}
image: {{ include "waypost.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
envFrom:
  - secretRef: {name: {{ include "waypost.secretName" . }}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- define "waypost.mounts" -}}
- {name: settings, mountPath: /etc/waypost, readOnly: true}
- {name: data, mountPath: /data}
- {name: temporary, mountPath: /tmp}
{{- end }}

{{- define "waypost.volumes" -}}
- name: settings
  configMap: {name: {{ include "waypost.name" . }}}
- name: temporary
  emptyDir: {sizeLimit: 256Mi}
{{- end }}

{{/* Pods are made anew when what they read at their start has changed. */}}
{{- define "waypost.podAnnotations" -}}
waypost/settings: {{ .Values.settings | toYaml | sha256sum }}
waypost/secret: {{ .Values.secret | toYaml | sha256sum }}
{{- with .Values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end }}
