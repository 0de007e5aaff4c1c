package guard_test

import (
	"flag"
	"os"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/internal/testredis"
	"github.com/holdfast-go/holdfast/locktest"
)

func TestMain(m *testing.M) {
	for name, value := range map[string]string{
		"rapid.checks":     "30",   // each with a server
		"rapid.nofailfile": "true", // the seed is printed; a file would lie about in the tree
	} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(os.Exit))
}

// servers runs a test on a real server and on miniredis.
func servers(t *testing.T, test func(t *testing.T, rdb *redis.Client)) {
	t.Helper()
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		test(t, testredis.Start(t).Client(t))
	})
	t.Run("miniredis", func(t *testing.T) {
		t.Parallel()
		rdb := redis.NewClient(&redis.Options{Addr: locktest.NewServer(t).Addr()})
		t.Cleanup(func() { _ = rdb.Close() })
		test(t, rdb)
	})
}
