"""Why things of the file are not taken over, by their names."""

from __future__ import annotations

from typing import Final

OTHERWISE: Final = "Waypost has no such setting"
_LOGS: Final = "Waypost sends no logs to other services"
_REDIS: Final = "Waypost needs no Redis: what is shared is in its database"
_BREAKER: Final = "a target that keeps failing is paused by itself, and tried again as soon as may be"
_DEFAULTS: Final = "Waypost adds no parameters to requests; let the caller send it"
_IN_DATABASE: Final = "keys, teams and their budgets are made with waypost keys and waypost projects"
_UI: Final = "it is about LiteLLM's own pages"
_SIGNING: Final = "Waypost signs in to Bedrock by an API key only"
_ENTRA: Final = "Waypost signs in to Azure by a key only"

TOP: Final = {
    "guardrails": "Waypost has no guardrails yet",
    "mcp_servers": "Waypost serves no tools by MCP",
    "mcp_tools": "Waypost serves no tools by MCP",
    "callback_settings": _LOGS,
    "vector_store_registry": "Waypost has no vector stores",
    "prompts": "Waypost keeps no prompts",
    "files_settings": "files are passed through: see /providers/{name}/ in the guide",
    "finetune_settings": "fine-tuning is passed through: see /providers/{name}/ in the guide",
    "search_tools": "Waypost has no search of its own",
    "assistant_settings": "Waypost has no assistants",
}
ROUTER: Final = {
    **dict.fromkeys(
        ("redis_host", "redis_port", "redis_password", "redis_url", "redis_db", "cache_kwargs", "client_ttl"), _REDIS
    ),
    **dict.fromkeys(
        ("allowed_fails", "allowed_fails_policy", "cooldown_time", "disable_cooldowns", "polling_interval"), _BREAKER
    ),
    "retry_policy": "retries are one number for all errors; those that no retry can mend are never retried",
    "model_group_retry_policy": "retries are one number for all errors",
    "enable_pre_call_checks": "what exceeds a model's known window is told or refused: see unsupported in policies",
    "enable_tag_filtering": "routes are chosen by name only",
    "tag_filtering_match_any": "routes are chosen by name only",
    "provider_budget_config": "budgets are those of keys and projects, not of providers",
    "optional_pre_call_checks": OTHERWISE,
    "default_litellm_params": _DEFAULTS,
    "routing_strategy_args": "the balance has no settings of its own",
    "max_fallbacks": "all targets of a route are tried, up to max_attempts calls",
    "caching_groups": "each route has a cache of its own",
    "cache_responses": "caches are set by route: see cache",
    "debug_level": "see server.log_level",
    "set_verbose": "see server.log_level",
    "alerting_config": "see ledger.warning_webhook",
}
LIBRARY: Final = {
    **dict.fromkeys(
        (
            "callbacks",
            "success_callback",
            "failure_callback",
            "service_callbacks",
            "langfuse_default_tags",
            "turn_off_message_logging",
            "redact_user_api_key_info",
            "json_logs",
        ),
        _LOGS,
    ),
    **dict.fromkeys(("allowed_fails", "cooldown_time"), _BREAKER),
    **dict.fromkeys(
        (
            "max_budget",
            "budget_duration",
            "default_team_settings",
            "default_internal_user_params",
            "key_generation_settings",
        ),
        _IN_DATABASE,
    ),
    "set_verbose": "see server.log_level",
    "telemetry": "Waypost sends nothing to its makers",
    "modify_params": "see unsupported in policies",
    "ssl_verify": "see ca_file of the provider",
    "forward_client_headers_to_llm_api": "only listed headers go to providers",
}
GENERAL: Final = {
    **dict.fromkeys(
        (
            "database_connection_pool_limit",
            "database_connection_timeout",
            "store_model_in_db",
            "disable_spend_logs",
            "store_prompts_in_spend_logs",
            "proxy_batch_write_at",
            "proxy_budget_rescheduler_min_time",
            "use_redis_transaction_buffer",
            "allow_requests_on_db_unavailable",
        ),
        "the ledger has settings of its own: see ledger",
    ),
    **dict.fromkeys(("ui_access_mode", "disable_master_key_return", "ui_theme_config"), _UI),
    **dict.fromkeys(
        ("alerting", "alerting_threshold", "alert_types", "alert_to_webhook_url"), "see ledger.warning_webhook"
    ),
    **dict.fromkeys(
        ("custom_auth", "enable_jwt_auth", "litellm_jwtauth", "enable_oauth2_auth", "oauth2_config_mappings"),
        "callers sign in by keys",
    ),
    **dict.fromkeys(
        ("background_health_checks", "health_check_interval"),
        "the health of targets is learned from requests, at no cost",
    ),
    "max_parallel_requests": "limits are those of keys and projects: concurrent requests",
    "pass_through_endpoints": "each provider's other endpoints are at /providers/{name}/",
    "key_management_system": "keys come from the environment or from files",
    "salt_key": "Waypost stores hashes of keys only",
    "maximum_spend_logs_retention_period": "see ledger.requests_days",
    "maximum_spend_logs_retention_interval": "see ledger.requests_days",
    "litellm_license": "Waypost needs no license key",
    "proxy_logout_url": _UI,
    "allowed_ips": "let the firewall or the proxy in front do it",
    "forward_client_headers_to_llm_api": "only listed headers go to providers",
    "coordination": OTHERWISE,
}
PARAMETERS: Final = {
    **dict.fromkeys(
        (
            "temperature",
            "max_tokens",
            "max_completion_tokens",
            "top_p",
            "seed",
            "stop",
            "presence_penalty",
            "frequency_penalty",
            "reasoning_effort",
            "thinking",
            "response_format",
            "extra_body",
            "tools",
            "tool_choice",
            "user",
            "metadata",
            "safety_settings",
            "service_tier",
        ),
        _DEFAULTS,
    ),
    **dict.fromkeys(
        (
            "aws_access_key_id",
            "aws_secret_access_key",
            "aws_session_token",
            "aws_session_name",
            "aws_profile_name",
            "aws_role_name",
            "aws_web_identity_token",
            "aws_bedrock_runtime_endpoint",
            "aws_sts_endpoint",
            "aws_external_id",
        ),
        _SIGNING,
    ),
    **dict.fromkeys(
        ("azure_ad_token", "azure_ad_token_provider", "tenant_id", "client_id", "client_secret", "azure_scope"), _ENTRA
    ),
    "max_parallel_requests": "limits are those of keys and projects: concurrent requests",
    "max_retries": "retries are a route's: see max_retries in policies",
    "num_retries": "retries are a route's: see max_retries in policies",
    "cooldown_time": _BREAKER,
    "tags": "routes are chosen by name only",
    "mock_response": "waypost simulate plays a provider",
    "max_budget": "budgets are those of keys and projects",
    "budget_duration": "budgets are those of keys and projects",
    "additional_drop_params": "see unsupported in policies",
    "configurable_clientside_auth_params": "callers may not choose where requests go",
    "use_in_pass_through": "every provider's other endpoints are at /providers/{name}/",
    "mock_testing_fallbacks": "waypost simulate plays faults",
}
