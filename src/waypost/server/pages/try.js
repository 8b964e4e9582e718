// The form that sends a request from the docs page and shows the reply while it arrives.

import { element } from "./element.js";
import { eventReader } from "./events.js";

export function tryForm(operation) {
  const examples = Object.entries(operation.requestBody?.content["application/json"]?.examples ?? {});
  const form = element("form", {});
  const body = element("textarea", { id: `${operation.operationId}-body`, spellcheck: "false" });
  const send = element("button", { type: "submit", class: "main" }, "Send");
  const stop = element("button", { type: "button", disabled: "" }, "Stop");
  const status = element("p", { class: "quiet", role: "status" });
  const text = element("pre", { class: "wrap", hidden: "" });
  const raw = element("pre", { class: "wrap", hidden: "" });
  if (operation.requestBody) form.append(...bodyFields(body, examples));
  form.append(element("div", { class: "row" }, send, stop), status, text, raw);
  let running = null;
  stop.addEventListener("click", () => running?.abort());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    running = new AbortController();
    [send.disabled, stop.disabled] = [true, false];
    for (const part of [text, raw]) {
      part.textContent = "";
      part.hidden = true;
    }
    await exchange(operation, operation.requestBody ? body.value : null, running.signal, { status, text, raw });
    [send.disabled, stop.disabled] = [false, true];
  });
  return form;
}

function bodyFields(body, examples) {
  const choice = element("select", { id: `${body.id}-example` });
  choice.append(...examples.map(([name, example]) => element("option", { value: name }, example.summary ?? name)));
  const fill = () => {
    const chosen = examples.find(([name]) => name === choice.value);
    body.value = chosen ? JSON.stringify(chosen[1].value, null, 2) : "{}";
  };
  choice.addEventListener("change", fill);
  fill();
  return [
    element("label", { for: choice.id }, "Example"),
    choice,
    element("label", { for: body.id }, "Body"),
    body,
  ];
}

async function exchange(operation, body, signal, output) {
  const started = performance.now();
  const seconds = () => `${((performance.now() - started) / 1000).toFixed(2)} s`;
  let streamId = null;
  output.status.textContent = "Waiting for the reply";
  try {
    const reply = await fetch(operation.path, {
      method: operation.method.toUpperCase(),
      headers: body === null ? {} : { "content-type": "application/json" },
      body,
      signal,
    });
    const head = `HTTP ${reply.status}, request ${reply.headers.get("x-request-id")}`;
    output.status.textContent = head;
    streamId = reply.headers.get("x-waypost-response-id");
    if (reply.headers.get("content-type")?.startsWith("text/event-stream")) await showEvents(reply, output);
    else showWhole(await reply.text(), output);
    output.status.textContent = `${head}, complete after ${seconds()}`;
  } catch (error) {
    // A stream outlives its reader for a while; who presses Stop wants its end.
    if (signal.aborted && streamId) fetch(`/api/ai/responses/${streamId}`, { method: "DELETE" }).catch(() => {});
    output.status.textContent = signal.aborted ? `Stopped after ${seconds()}` : `The request failed: ${error.message}`;
  }
}

function showWhole(text, output) {
  output.raw.hidden = false;
  try {
    output.raw.textContent = JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    output.raw.textContent = text;
  }
}

async function showEvents(reply, output) {
  const read = eventReader((event, data) => {
    if (event === "delta") {
      output.text.hidden = false;
      output.text.append(data.text);
    } else {
      output.raw.hidden = false;
      output.raw.append(`${event}: ${JSON.stringify(data, null, 2)}\n`);
    }
  });
  const decoder = new TextDecoder();
  const reader = reply.body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    read(decoder.decode(part.value, { stream: true }));
  }
}
