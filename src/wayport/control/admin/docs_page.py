"""The page at /docs: lists the routes of /openapi.json. It loads nothing from elsewhere, so it works without a network."""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from wayport.control.admin.parts import Parts

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Wayport: API</title>
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin: 2rem 0 .5rem; text-transform: capitalize; }
summary { cursor: pointer; padding: .15rem 0; }
code, b { font-family: ui-monospace, monospace; }
b { display: inline-block; min-width: 4.5rem; }
table { border-collapse: collapse; margin: .3rem 0 1rem 1.2rem; }
td { padding: .1rem .8rem .1rem 0; vertical-align: top; }
</style></head><body>
<h1>Wayport: API</h1>
<p>The whole description, for tools: <a href="openapi.json">openapi.json</a>.</p>
<div id="routes">…</div>
<script>
const element = (name, text, ...children) => {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
};
const typeOf = (schema) => schema.type || (schema.anyOf || []).map(typeOf).join(" | ") || (schema.$ref || "").split("/").pop();
const table = (rows) => {
  const made = element("table");
  for (const [name, type, text] of rows)
    made.append(element("tr", "", element("td", "", element("code", name)), element("td", type), element("td", text)));
  return made;
};
fetch("openapi.json").then((answer) => answer.json()).then((api) => {
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths))
    for (const [method, route] of Object.entries(methods)) {
      const group = (route.tags || ["other"])[0];
      if (!groups.has(group)) groups.set(group, []);
      const rows = (route.parameters || []).map((p) => [p.name, typeOf(p.schema || {}), p.description || ""]);
      const body = route.requestBody && Object.values(route.requestBody.content)[0].schema;
      const reference = body && (body.$ref || ((body.anyOf || []).find((s) => s.$ref) || {}).$ref);
      const schema = reference && api.components.schemas[reference.split("/").pop()];
      for (const [name, field] of Object.entries((schema && schema.properties) || {}))
        rows.push([name, typeOf(field), field.description || ""]);
      groups.get(group).push(element("details", "",
        element("summary", "", element("b", method.toUpperCase()), element("code", path), " — " + (route.summary || "")),
        table(rows)));
    }
  const routes = document.getElementById("routes");
  routes.textContent = "";
  for (const [group, items] of [...groups].sort()) routes.append(element("h2", group), ...items);
});
</script></body></html>
"""


def routes(_: Parts) -> APIRouter:
    router = APIRouter()

    @router.get("/docs", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse(_PAGE)

    return router
