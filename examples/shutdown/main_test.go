package main

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/internal/testredis"
)

// TestMain lets the processes, which start this binary again, be what they are in
// the program.
func TestMain(m *testing.M) {
	if os.Getenv(addressVariable) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

func TestEmbedded(t *testing.T) {
	t.Setenv("REDIS_URL", "")
	if err := run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestRedisURL(t *testing.T) {
	t.Setenv("REDIS_URL", "redis://"+testredis.Start(t).Addr()+"/0")
	if err := run(t.Context()); err != nil {
		t.Fatal(err)
	}
}
