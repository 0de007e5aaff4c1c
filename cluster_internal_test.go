package holdfast

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/lua"
)

// Who a call goes to is asked on the watchdog's goroutine, which never does I/O:
// also while a cluster's layout is not known yet.
func TestNodeOfDoesNoIO(t *testing.T) {
	var dials atomic.Int64
	rdb := redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: []string{"127.0.0.1:1"},
		Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
			dials.Add(1)
			<-ctx.Done()
			return nil, errors.New("there is nobody")
		},
	})
	defer func() { _ = rdb.Close() }()
	before := time.Now()
	node := nodeOf(rdb)
	for range 100 {
		if got := node(lua.NewCall(lua.MutexRenew, []any{"key"})); got != "" {
			t.Errorf("it goes to %q", got)
		}
	}
	if d := time.Since(before); dials.Load() != 0 || d > time.Second {
		t.Errorf("asked in %v with %d connections", d, dials.Load())
	}
}
