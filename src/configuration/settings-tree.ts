import { ParseError, parseTOML, type AST } from 'toml-eslint-parser';
import type { Finding, Place } from './finding.ts';

type Path = readonly (string | number)[];
type Table = Record<string, unknown>;

/**
 * The content of one or several TOML files, and where in them each key and value stands. Tables of several files are
 * joined, lists of tables go on; what two files set is found.
 */
export class SettingsTree {
  readonly value: Table = newTable();
  readonly findings: Finding[] = [];
  readonly #places = new Map<string, Place>();

  /** Adds a file. What is wrong in it is in `findings`; a file that is no TOML adds nothing else. */
  add(text: string, file: string): void {
    let program: AST.TOMLProgram;
    try {
      program = parseTOML(text);
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      const place = { file, text, line: error.lineNumber, column: error.column, length: 1 };
      this.findings.push({ place, message: `is no valid TOML: ${lowerFirst(error.message)}` });
      return;
    }
    /** How long lists of tables were before this file. */
    const before = new Map<string, number>();
    for (const node of program.body[0].body) {
      if (node.type === 'TOMLKeyValue') this.#set(this.value, [], node, { file, text });
      else {
        const opened = this.#open(node, before, { file, text });
        if (opened) for (const pair of node.body) this.#set(opened.table, opened.path, pair, { file, text });
      }
    }
  }

  /** Sets one value, whatever was there. `text` is where it comes from, for messages. */
  override(path: readonly string[], value: unknown, file: string, text: string): void {
    let table = this.value;
    for (const part of path.slice(0, -1)) {
      const inner = table[part];
      table = isTable(inner) ? inner : ((table[part] = newTable()) as Table);
    }
    table[path.at(-1)!] = value;
    const place = { file, text, line: 1, column: 0, length: text.length };
    for (let length = 1; length <= path.length; length++)
      if (length === path.length || !this.#places.has(key(path.slice(0, length))))
        this.#places.set(key(path.slice(0, length)), place);
  }

  /** Where a path stands, or else the nearest thing above it; undefined if nothing was read at all. */
  placeOf(path: Path): Place | undefined {
    for (let length = path.length; length > 0; length--) {
      const place = this.#places.get(key(path.slice(0, length)));
      if (place) return place;
    }
    return undefined;
  }

  #open(
    node: AST.TOMLTable,
    before: Map<string, number>,
    source: Source,
  ): { table: Table; path: Path } | undefined {
    let table = this.value;
    const path: (string | number)[] = [];
    let named = 0;
    for (const part of node.resolvedKey) {
      if (typeof part === 'number') continue;
      path.push(part);
      this.#note(path, node.key.keys[named++]!.loc, source);
      const isList = typeof node.resolvedKey[path.length] === 'number';
      const inner = table[part];
      if (!isList) {
        if (inner !== undefined && !isTable(inner)) return this.#twice(path, node.key.loc, source);
        table = isTable(inner) ? inner : ((table[part] = newTable()) as Table);
        continue;
      }
      if (inner !== undefined && !Array.isArray(inner)) return this.#twice(path, node.key.loc, source);
      const list: unknown[] = Array.isArray(inner) ? inner : ((table[part] = []) as unknown[]);
      const name = key(path);
      if (!before.has(name)) before.set(name, list.length);
      const index = before.get(name)! + (node.resolvedKey[path.length] as number);
      path.push(index);
      this.#note(path, node.key.loc, source);
      const element = (list[index] ??= newTable());
      if (!isTable(element)) return this.#twice(path, node.key.loc, source);
      table = element;
    }
    return { table, path };
  }

  #set(table: Table, above: Path, pair: AST.TOMLKeyValue, source: Source): undefined {
    const path = [...above];
    for (const [at, node] of pair.key.keys.entries()) {
      const name = node.type === 'TOMLBare' ? node.name : node.value;
      path.push(name);
      const inner = table[name];
      const isLast = at === pair.key.keys.length - 1;
      if (inner !== undefined && (isLast || !isTable(inner))) return this.#twice(path, node.loc, source);
      this.#note(path, node.loc, source);
      if (isLast) table[name] = this.#read(pair.value, path, source);
      else table = isTable(inner) ? inner : ((table[name] = newTable()) as Table);
    }
  }

  #read(node: AST.TOMLContentNode, path: Path, source: Source): unknown {
    if (node.type === 'TOMLValue') return node.value;
    if (node.type === 'TOMLArray')
      return node.elements.map((element, at) => {
        this.#note([...path, at], element.loc, source);
        return this.#read(element, [...path, at], source);
      });
    const table = newTable();
    for (const pair of node.body) this.#set(table, path, pair, source);
    return table;
  }

  #note(path: Path, { start, end }: AST.SourceLocation, source: Source): void {
    const name = key(path);
    const own = path.at(-1);
    if (this.#places.has(name)) return;
    const length = end.line === start.line ? Math.max(1, end.column - start.column) : 1;
    const place = { ...source, line: start.line, column: start.column, length };
    this.#places.set(name, place);
    if (typeof own === 'string' && passedOver.has(own))
      this.findings.push({ place, message: `"${own}" cannot be used as a name` });
  }

  #twice(path: Path, loc: AST.SourceLocation, source: Source): undefined {
    const first = this.placeOf(path);
    const { start, end } = loc;
    const place = { ...source, line: start.line, column: start.column, length: end.column - start.column };
    const where = first ? `, in line ${first.line} of "${first.file}"` : '';
    this.findings.push({ place, message: `"${path.join('.')}" is set twice${where}` });
  }
}

/** valibot passes over such members of a table without a word. */
const passedOver = new Set(['__proto__', 'prototype', 'constructor']);

interface Source {
  readonly file: string;
  readonly text: string;
}

/** Without a prototype: no name in a file means anything but itself. */
function newTable(): Table {
  return Object.create(null) as Table;
}

function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === null;
}

function key(path: Path): string {
  return JSON.stringify(path);
}

function lowerFirst(text: string): string {
  return `${text.slice(0, 1).toLowerCase()}${text.slice(1)}`;
}
