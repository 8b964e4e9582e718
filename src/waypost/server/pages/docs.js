// Renders /openapi.json. Text from the document goes into the page as text nodes only, never as markup.

import { tryForm } from "./try.js";
import { element } from "./element.js";

const METHODS = ["get", "post", "put", "patch", "delete"];

async function main() {
  const about = document.getElementById("about");
  const answer = await fetch("/openapi.json");
  if (!answer.ok) {
    about.append(element("p", { class: "bad" }, `/openapi.json could not be read: HTTP ${answer.status}.`));
    return;
  }
  const api = await answer.json();
  about.replaceChildren(
    element("h1", {}, api.info.title),
    element("p", { class: "quiet" }, `Version ${api.info.version}, `, element("a", { href: "/openapi.json" }, "openapi.json")),
    element("p", {}, ...marked(api.info.description ?? "")),
  );
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    METHODS.filter((method) => methods[method]).map((method) => ({ path, method, ...methods[method] })),
  );
  const schemas = Object.entries(api.components?.schemas ?? {}).sort(([a], [b]) => a.localeCompare(b));
  document.getElementById("contents").replaceChildren(contents(operations));
  document.getElementById("operations").replaceChildren(
    ...operations.map((operation) => operationSection(operation, Object.fromEntries(schemas))),
    element("h2", { id: "schemas" }, "Schemas"),
    ...schemas.map(([name, schema]) => schemaSection(name, schema)),
  );
  openTarget();
  addEventListener("hashchange", openTarget);
}

function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) target.open = true;
  target?.scrollIntoView();
}

function contents(operations) {
  const links = operations.map((operation) =>
    element("li", {}, element("a", { href: `#${operation.operationId}` }, `${operation.method.toUpperCase()} ${operation.path}`)),
  );
  return element("ul", {}, ...links, element("li", {}, element("a", { href: "#schemas" }, "Schemas")));
}

function operationSection(operation, schemas) {
  const parameters = operation.parameters ?? [];
  return element(
    "section",
    { class: "operation", id: operation.operationId },
    element("h2", {}, element("span", { class: "method" }, operation.method.toUpperCase()), operation.path),
    element("p", {}, element("strong", {}, operation.summary ?? "")),
    element("p", {}, ...marked(operation.description ?? "")),
    ...(parameters.length ? [element("h3", {}, "Parameters"), parameterTable(parameters)] : []),
    ...requestPart(operation.requestBody, schemas),
    element("h3", {}, "Replies"),
    ...Object.entries(operation.responses).map(([status, response]) => replyPart(status, response)),
    // The form has no fields for what stands in a path.
    ...(operation.path.includes("{") ? [] : [element("h3", {}, "Try it"), tryForm(operation)]),
  );
}

function requestPart(body, schemas) {
  if (!body) return [];
  const forms = Object.entries(body.content).flatMap(([type, media]) => [
    element("p", {}, element("code", {}, type), ": ", ...typeOf(media.schema)),
    element("details", {}, element("summary", {}, "Fields"), fieldTable(schemas[nameOf(media.schema)] ?? media.schema)),
  ]);
  return [element("h3", {}, body.required ? "Body (required)" : "Body"), ...forms];
}

function parameterTable(parameters) {
  const rows = parameters.map((parameter) => [
    [element("code", {}, parameter.name)],
    [parameter.in],
    typeOf(parameter.schema),
    marked(parameter.description ?? ""),
  ]);
  return table(["Name", "In", "Type", "Meaning"], rows);
}

function replyPart(status, response) {
  const parts = Object.entries(response.content ?? {}).flatMap(([type, media]) => mediaPart(type, media));
  return element(
    "details",
    {},
    element("summary", {}, element("code", {}, status), " ", ...marked(response.description ?? "")),
    ...parts,
  );
}

function mediaPart(type, media) {
  const events = Object.entries(media["x-events"] ?? {}).map(([name, schema]) => [
    [element("code", {}, name)],
    typeOf(schema),
  ]);
  const examples = Object.entries(media.examples ?? {}).flatMap(([name, example]) => [
    element("p", { class: "quiet" }, `Example: ${example.summary ?? name}`),
    element("pre", { class: "wrap" }, element("code", {}, asText(example.value))),
  ]);
  return [
    element("p", {}, element("code", {}, type), ": ", ...typeOf(media.schema ?? {})),
    ...(media.schema?.description ? [element("p", {}, ...marked(media.schema.description))] : []),
    ...(events.length ? [table(["Event", "Data"], events)] : []),
    ...examples,
  ];
}

function schemaSection(name, schema) {
  return element(
    "details",
    { class: "schema", id: `schema-${name}` },
    element("summary", {}, element("strong", {}, name)),
    element("p", {}, ...marked(schema.description ?? "")),
    fieldTable(schema),
  );
}

function fieldTable(schema) {
  const required = new Set(schema.required ?? []);
  const rows = Object.entries(schema.properties ?? {}).map(([field, property]) => [
    [element("code", {}, field), ...(required.has(field) ? [" (required)"] : [])],
    [...typeOf(property), ...limits(property)],
    marked(property.description ?? ""),
  ]);
  return table(["Field", "Type", "Meaning"], rows);
}

function nameOf(schema) {
  return schema.$ref?.split("/").at(-1);
}

function typeOf(schema) {
  if (schema.$ref) {
    return [element("a", { href: `#schema-${nameOf(schema)}` }, nameOf(schema))];
  }
  if (schema.anyOf) return joined(schema.anyOf.map((each) => typeOf(each)), " or ");
  if (schema.enum) return [schema.enum.map((each) => JSON.stringify(each)).join(" or ")];
  if (schema.const !== undefined) return [JSON.stringify(schema.const)];
  if (schema.type === "array") return ["list of ", ...typeOf(schema.items ?? {})];
  if (schema.type === "object" && schema.additionalProperties?.$ref) {
    return ["object of ", ...typeOf(schema.additionalProperties)];
  }
  return [schema.format ?? schema.type ?? "any"];
}

function limits(property) {
  const numbers = [property, ...(property.anyOf ?? [])];
  const lower = numbers.map((each) => each.minimum).find((each) => each !== undefined);
  const upper = numbers.map((each) => each.maximum).find((each) => each !== undefined);
  if (lower === undefined && upper === undefined) return [];
  if (upper === undefined) return [`, at least ${lower}`];
  return [lower === undefined ? `, at most ${upper}` : `, ${lower} to ${upper}`];
}

function table(headings, rows) {
  const head = element("tr", {}, ...headings.map((heading) => element("th", { scope: "col" }, heading)));
  const body = rows.map((cells) => element("tr", {}, ...cells.map((cell) => element("td", {}, ...cell))));
  return element("div", { class: "scroll" }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...body)));
}

// `code` in a description becomes a code element; nothing else is read as markup.
function marked(text) {
  return text.split("`").map((piece, index) => (index % 2 ? element("code", {}, piece) : piece));
}

function joined(lists, separator) {
  return lists.flatMap((list, index) => (index ? [separator, ...list] : list));
}

function asText(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

await main();
