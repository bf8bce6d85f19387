// build.mjs WIT-DIRECTORY OUTPUT: makes the component.
import { readFile, stat, writeFile } from "node:fs/promises";
import { componentize } from "@bytecodealliance/componentize-js";

const [witPath, output] = process.argv.slice(2);
const source = await readFile("hello.js", "utf8");
const { component } = await componentize(source, { witPath, worldName: "hello" });
await writeFile(output, component);
console.log(`js-hello ${(await stat(output)).size} bytes`);
