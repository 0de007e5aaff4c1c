package servertest_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/internal/contract"
	"github.com/holdfast-go/holdfast/internal/testredis"
	"github.com/holdfast-go/holdfast/mutex"
)

// BenchmarkFailoverForgets measures what docs/operations.md says of asynchronous
// replication: a lock is taken, its master killed at once, its replica promoted. How
// often is the lock not there? With other clients that write, the master has much
// to send before it.
func BenchmarkFailoverForgets(b *testing.B) {
	for name, size := range map[string]int{"idle": 0, "written to": 100_000} {
		b.Run(name, func(b *testing.B) {
			forgotten := 0
			for b.Loop() {
				if forgets(b, size) {
					forgotten++
				}
			}
			b.ReportMetric(float64(forgotten)/float64(b.N), "forgotten/op")
		})
	}
}

func forgets(b *testing.B, size int) bool {
	b.Helper()
	master := testredis.Start(b, "--repl-diskless-sync-delay", "0")
	replica := testredis.StartReplica(b, master)
	ctx, stop := context.WithCancel(b.Context())
	var writers sync.WaitGroup
	for range 4 {
		if size == 0 {
			break
		}
		rdb, text := master.Client(b, func(o *redis.Options) { o.MaxRetries = -1 }), strings.Repeat("x", size)
		writers.Go(func() {
			for ctx.Err() == nil && rdb.Set(ctx, "other", text, 0).Err() == nil { // until the master is gone
			}
		})
	}
	lock := mutex.New(newClient(b, master.Client(b)), "lock")
	for range 3 {
		contract.Release(b, contract.Lock(b, lock))
	}
	contract.Lock(b, lock)
	master.Kill()
	stop()
	writers.Wait()
	rdb := replica.Client(b)
	if err := rdb.Do(b.Context(), "REPLICAOF", "NO", "ONE").Err(); err != nil {
		b.Fatal(err)
	}
	return rdb.Exists(b.Context(), "holdfast:mutex:lock").Val() == 0
}
