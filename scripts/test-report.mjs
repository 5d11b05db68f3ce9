// node scripts/test-report.mjs counts|failures vitest|gtest REPORT.json...: what test.sh says of reports of vitest or GoogleTest.
//   counts     `passed failed skipped`
//   failures   a line for each test that failed: its name, and the first line of why
import { readFileSync } from 'node:fs';

const [what, kind, ...paths] = process.argv.slice(2);
const tests = paths
  .map((path) => JSON.parse(readFileSync(path, 'utf8')))
  .flatMap(kind === 'vitest' ? ofVitest : ofGoogleTest);

if (what === 'counts') {
  const count = (result) => tests.filter((test) => test.result === result).length;
  console.log(count('passed'), count('failed'), count('skipped'));
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
    return assertionResults.map(({ fullName, status: result, failureMessages: [why = ''] }) => ({
      name: `${file} > ${fullName}`,
      result: result === 'passed' || result === 'failed' ? result : 'skipped',
      why,
    }));
  });
}

function ofGoogleTest({ testsuites }) {
  return testsuites.flatMap(({ name: suite, testsuite }) =>
    testsuite.map(({ name, result, status, failures = [] }) => ({
      name: `${suite}.${name}`,
      result:
        failures.length > 0 ? 'failed' : result === 'SKIPPED' || status === 'NOTRUN' ? 'skipped' : 'passed',
      why: failures.map(({ failure }) => failure.replaceAll('\n', ' ')).join(' '),
    })),
  );
}
