package holdfast

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/lua"
)

// driver is what the client needs of go-redis.
type driver interface {
	lua.Pipeliner
	Subscribe(ctx context.Context, channels ...string) *redis.PubSub
}

// driverOf checks a go-redis client and returns how Holdfast uses it.
//
// A single-node client heeds a context's deadline while it waits for a reply
// only with ContextTimeoutEnabled. Where that is off, WithTimeout makes a second
// client on the same connections, with options of its own: there it is switched
// on, and the caller's client stays as it is. The second client has no hooks
// (go-redis 9.23 does not copy them), so who traces by hooks sets
// ContextTimeoutEnabled, and is used as is. Cluster clients offer no such copy.
func driverOf(rdb redis.UniversalClient) (driver, error) {
	switch c := rdb.(type) {
	case nil:
		return nil, invalid("New(nil): no Redis client")
	case *redis.Client:
		if c == nil {
			return nil, invalid("New: the *redis.Client is nil")
		}
		if c.Options().ContextTimeoutEnabled {
			return c, nil
		}
		own := c.WithTimeout(c.Options().ReadTimeout)
		own.Options().WriteTimeout = c.Options().WriteTimeout
		own.Options().ContextTimeoutEnabled = true
		return own, nil
	case *redis.ClusterClient:
		if c == nil {
			return nil, invalid("New: the *redis.ClusterClient is nil")
		}
		return cluster{c}, nil
	case *redis.Ring:
		return nil, invalid("New: a *redis.Ring has no common channel to wake waiters on; use a Cluster or a single node")
	case clusterClient: // one that wraps a *redis.ClusterClient
		return cluster{c}, nil
	default:
		return c, nil
	}
}

// noWait, in the place of a read timeout, is that of a client of which nobody
// knows on which connection a pipeline goes.
const noWait = -1

// readTimeoutOf is how long the client waits for an answer; 0: without end.
func readTimeoutOf(rdb redis.UniversalClient) time.Duration {
	switch c := rdb.(type) {
	case *redis.Client:
		return max(0, c.Options().ReadTimeout)
	case *redis.ClusterClient:
		return max(0, c.Options().ReadTimeout)
	case clusterClient:
		return 0
	}
	return noWait
}
