//go:build unix

package testredis_test

import (
	"context"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/internal/testredis"
)

const twoCalls = `redis.call('SET', KEYS[1], '1') redis.call('GET', KEYS[1]) return 1`

func TestCommandsCountsTheCallsOfScriptsToo(t *testing.T) {
	t.Parallel()
	s := testredis.Start(t)
	rdb := s.Client(t)
	s.ResetStats(t)
	if err := rdb.Eval(t.Context(), twoCalls, []string{"k"}).Err(); err != nil {
		t.Fatal(err)
	}
	got := s.Commands(t)
	if got["EVAL"] != 1 || got["SET"] != 1 || got["GET"] != 1 {
		t.Fatalf("commands = %v", got)
	}
	s.ResetStats(t)
	if got := s.Commands(t); got["EVAL"] != 0 || got["CONFIG|RESETSTAT"] != 1 {
		t.Fatalf("after the reset: %v", got)
	}
}

// TestTotalCommandsProcessedIsNoUse pins why a [testredis.CommandCount] exists.
func TestTotalCommandsProcessedIsNoUse(t *testing.T) {
	t.Parallel()
	s := testredis.Start(t)
	rdb := s.Client(t)
	processed := func() int {
		info, err := rdb.InfoMap(t.Context(), "stats").Result()
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(info["Stats"]["total_commands_processed"])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := processed()
	if err := rdb.Eval(t.Context(), twoCalls, []string{"k"}).Err(); err != nil {
		t.Fatal(err)
	}
	// INFO, EVAL, and the script's SET and GET.
	if got := processed() - before; got != 4 {
		t.Fatalf("total_commands_processed grew by %d, not by 4: scripts' calls are no longer in it", got)
	}
}

func TestCountClientCommandsLeavesOutTheCallsOfScripts(t *testing.T) {
	t.Parallel()
	s := testredis.Start(t)
	rdb := s.Client(t)
	script := redis.NewScript(twoCalls)
	count := s.CountClientCommands(t)
	// NOSCRIPT, then EVAL; after that EVALSHA alone.
	for range 3 {
		if err := script.Run(t.Context(), rdb, []string{"lua] "}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := rdb.Set(t.Context(), `"testredis`, "] \"x\"\r\n", 0).Err(); err != nil {
		t.Fatal(err)
	}
	got := count.ByName()
	if got["EVALSHA"] != 3 || got["EVAL"] != 1 || got["SET"] != 1 || got["GET"] != 0 {
		t.Fatalf("by name: %v", got)
	}
	if total := count.Total(); total != 5 {
		t.Fatalf("total = %d, want 5: %v", total, got)
	}
}

func TestCountClientCommandsInPipelinesTransactionsAndManyClients(t *testing.T) {
	t.Parallel()
	s := testredis.Start(t)
	count := s.CountClientCommands(t)
	other := s.CountClientCommands(t)
	for range 3 {
		rdb := s.Client(t)
		if _, err := rdb.Pipelined(t.Context(), tenCommands(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	if got := count.Total(); got != 30 {
		t.Fatalf("pipelines: %d commands, want 30", got)
	}
	count.Reset()
	if _, err := s.Client(t).TxPipelined(t.Context(), tenCommands(t.Context())); err != nil {
		t.Fatal(err)
	}
	if got := count.Total(); got != 12 { // MULTI, ten, EXEC
		t.Fatalf("transaction: %d commands, want 12", got)
	}
	if got := other.Total(); got != 42 {
		t.Fatalf("the other count: %d, want 42", got)
	}
}

func TestCountClientCommandsLeavesOutRefusedOnes(t *testing.T) {
	t.Parallel()
	s := testredis.Start(t)
	rdb := s.Client(t)
	if err := rdb.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	count := s.CountClientCommands(t)
	if err := rdb.Set(t.Context(), "k", "v", 0).Err(); !redis.HasErrorPrefix(err, "OOM") {
		t.Fatalf("SET = %v, want OOM", err)
	}
	if got := count.Total(); got != 0 {
		t.Fatalf("total = %d: %v", got, count.ByName())
	}
}

// tenCommands fills a pipeline.
func tenCommands(ctx context.Context) func(redis.Pipeliner) error {
	return func(p redis.Pipeliner) error {
		for range 10 {
			p.Incr(ctx, "n")
		}
		return nil
	}
}
