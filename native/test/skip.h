// Tests that can't run on a machine.
#pragma once

#include <gtest/gtest.h>

// Ends a test that can't run here. The reason goes into the report, where scripts/test-report.mjs finds it.
#define SKIP_BECAUSE(reason)                       \
  do {                                             \
    const std::string why = (reason);              \
    testing::Test::RecordProperty("skipped", why); \
    GTEST_SKIP() << why;                           \
  } while (false)
