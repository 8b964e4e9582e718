// Server-sent events as this server writes them: one line of JSON as data, "\n" as line end.
// Feed it text split anywhere; `tell` gets each event's name and data.
export function eventReader(tell) {
  let rest = "";
  return (text) => {
    const blocks = (rest + text).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n");
      const value = (name) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      const data = value("data");
      if (data !== undefined) tell(value("event") ?? "message", JSON.parse(data));
    }
  };
}
