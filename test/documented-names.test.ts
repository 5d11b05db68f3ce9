import { resolve } from 'node:path';
import ts from 'typescript';
import { expect, test } from 'vitest';

// The claim: whoever hovers over an exported name in an editor reads what it is; commands and flags have the same in test/cli/man-page.test.ts.

const entry = resolve(__dirname, '../src/index.ts');

/** What an export says of itself: its own comment, or for a class, function or type that of what it stands for. */
function commentOf(symbol: ts.Symbol, checker: ts.TypeChecker): string {
  const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
  return ts.displayPartsToString(target.getDocumentationComment(checker)).trim();
}

test('every exported name has a docstring', () => {
  const config = resolve(__dirname, '../tsconfig.json');
  const { options } = ts.parseJsonConfigFileContent(
    ts.readConfigFile(config, (path) => ts.sys.readFile(path)).config,
    ts.sys,
    resolve(__dirname, '..'),
  );
  const program = ts.createProgram([entry], options);
  const checker = program.getTypeChecker();
  const module = checker.getSymbolAtLocation(program.getSourceFile(entry)!)!;
  const names = checker.getExportsOfModule(module);
  expect(names.length).toBeGreaterThan(150);
  expect(names.filter((symbol) => commentOf(symbol, checker).length < 10).map(({ name }) => name)).toEqual(
    [],
  );
});
