package main

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/internal/testredis"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
