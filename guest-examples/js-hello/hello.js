// A handler in JavaScript. componentize-js puts a JavaScript engine around it, whose fetch event speaks wasi:http.
import { getEnvironment } from "wasi:cli/environment@0.2.10";

function task() {
  const environment = Object.fromEntries(getEnvironment());
  const arn = environment.CORACLE_TASK_ARN ?? "unknown";
  return {
    id: arn.split("/").pop(),
    arn,
    definition: environment.CORACLE_TASK_DEFINITION ?? "unknown",
    address: environment.CORACLE_TASK_ADDRESS ?? "unknown",
  };
}

function answer(request) {
  const url = new URL(request.url);
  const { id, ...rest } = task();
  if (url.pathname === "/plain") {
    return new Response(`Hello from ${id}\n`, { headers: { "content-type": "text/plain; charset=utf-8" } });
  }
  const told = {
    message: `Hello from JavaScript, from ${id}`,
    task: { id, ...rest },
    method: request.method,
    path: url.pathname + url.search,
    headers: Object.fromEntries(request.headers),
  };
  return new Response(JSON.stringify(told) + "\n", { headers: { "content-type": "application/json" } });
}

addEventListener("fetch", (event) => event.respondWith(answer(event.request)));
