// node scripts/test-report.mjs counts|failures|skipped vitest|gtest REPORT.json...: what test.sh says of reports of vitest or GoogleTest.
//   counts     `passed failed skipped`
//   failures   a line for each test that failed: its name, and the first line of why
//   skipped    a line for each reason for which tests were skipped; one that is skipped without a reason has failed
import { readFileSync } from 'node:fs';

const [what, kind, ...paths] = process.argv.slice(2);
const tests = paths
  .map((path) => JSON.parse(readFileSync(path, 'utf8')))
  .flatMap(kind === 'vitest' ? ofVitest : ofGoogleTest);

if (what === 'counts') {
  const count = (result) => tests.filter((test) => test.result === result).length;
  console.log(count('passed'), count('failed'), count('skipped'));
} else if (what === 'skipped') {
  const times = new Map();
  for (const { result, why } of tests) if (result === 'skipped') times.set(why, (times.get(why) ?? 0) + 1);
  for (const [why, count] of times) console.log(`${why} (${count === 1 ? '1 test' : `${count} tests`})`);
} else {
  for (const { name, result, why } of tests)
    if (result === 'failed')
      console.log(`  ${name}: ${why.split('\n').find((line) => line.trim() !== '') ?? 'see the log above'}`);
}

function ofVitest({ testResults }) {
  return testResults.flatMap(({ name: file, status, message, assertionResults }) => {
    // A file that does not even load has no tests, but fails its suite.
    if (status === 'failed' && assertionResults.every((test) => test.status !== 'failed'))
      assertionResults.push({ fullName: 'the file itself', status, failureMessages: [message] });
    return assertionResults.map(({ fullName, status: result, failureMessages: [why = ''] }) => {
      const name = `${file} > ${fullName}`;
      if (result === 'passed' || result === 'failed') return { name, result, why };
      return skipped(name, /\[skipped: (.*?)\]/.exec(fullName)?.[1]);
    });
  });
}

function skipped(name, reason) {
  if (reason === undefined) return { name, result: 'failed', why: 'it is skipped, and does not say why' };
  return { name, result: 'skipped', why: reason };
}

function ofGoogleTest({ testsuites }) {
  return testsuites.flatMap(({ name: suite, testsuite }) =>
    testsuite.map(({ name: test, result, status, failures = [], skipped: reason }) => {
      const name = `${suite}.${test}`;
      const why = failures.map(({ failure }) => failure.replaceAll('\n', ' ')).join(' ');
      if (failures.length > 0) return { name, result: 'failed', why };
      if (result === 'SKIPPED' || status === 'NOTRUN') return skipped(name, reason);
      return { name, result: 'passed', why };
    }),
  );
}
