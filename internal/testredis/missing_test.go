//go:build unix

package testredis_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/internal/testredis"
)

// A missing server must fail a test in words that help, so the test of that runs in
// a process of its own, where it may fail.
func TestMissingServerFailsAndSaysHowToGetIt(t *testing.T) {
	const variable = "HOLDFAST_TESTREDIS_MISSING"
	if os.Getenv(variable) != "" {
		testredis.Start(t)
		return
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), variable+"=1", "HOLDFAST_TEST_SERVER=no-such-redis-server")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "`make test` installs it") || strings.Contains(string(out), "SKIP") {
		t.Fatalf("%v:\n%s", err, out)
	}
}

func TestBadArgumentFailsWithTheServersWords(t *testing.T) {
	const variable = "HOLDFAST_TESTREDIS_BAD_ARGUMENT"
	if os.Getenv(variable) != "" {
		testredis.Start(t, "--no-such-option", "1")
		return
	}
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), variable+"=1")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "no-such-option") {
		t.Fatalf("%v:\n%s", err, out)
	}
}
