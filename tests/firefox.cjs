// Playwright asks Firefox for media features, such as dark colours, of which Firefox knows nothing over WebDriver BiDi: it
// gets none, rather than no page. Loaded by Playwright's driver (browsing.py).
const parse = JSON.parse;
JSON.parse = (...given) => {
  const found = parse(...given);
  const none = found?.error === "unknown command" && found.message?.includes("setMediaFeaturesOverride");
  return none ? { type: "success", id: found.id, result: {} } : found;
};
