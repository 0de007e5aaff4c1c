package lua

import (
	"context"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// replication is what a call asks of the replicas.
type replication struct {
	replicas int
	timeout  time.Duration
	acked    int
}

// Replicated makes the call's answer wait until so many replicas have what it
// wrote, or the timeout is over; Acknowledged then says how many did. The script
// must write, since WAIT counts what its own connection wrote last.
func (c *Call) Replicated(replicas int, timeout time.Duration) *Call {
	c.replication = &replication{replicas: replicas, timeout: timeout}
	return c
}

// WaitsForReplicas tells whether Replicated was called.
func (c *Call) WaitsForReplicas() bool { return c.replication != nil }

// Acknowledged is how many replicas have what the call wrote.
func (c *Call) Acknowledged() int { return c.replication.acked }

// wait is a WAIT that the driver does not repeat either.
type wait struct{ *redis.IntCmd }

func (wait) NoRetry() bool { return true }

// master finds the node that a key's writes go to, in a cluster: a pipeline of the
// cluster's client, or its Wait, would ask any node.
type master interface {
	MasterForKey(ctx context.Context, key string) (*redis.Client, error)
	ReloadState(ctx context.Context)
}

// replicate sends calls to one node, and a WAIT behind them on the same connection
// for what the most demanding of them asks. Where that got no answer, neither did
// the calls, as far as they can be relied on.
func replicate(ctx context.Context, rdb Pipeliner, calls []*Call) {
	cluster, ok := rdb.(master)
	if ok {
		key, _ := calls[0].Keys()[0].(string)
		node, err := cluster.MasterForKey(ctx, key)
		if err != nil {
			for _, c := range calls {
				c.SetErr(err)
			}
			return
		}
		rdb = node
	}
	waitBehind(ctx, rdb, calls)
	var unknown []*Call
	for _, c := range calls {
		switch {
		case isNoScript(c.Err()):
			c.Cmd = c.again(true).Cmd
			unknown = append(unknown, c)
		case ok && c.Err() != nil && (strings.HasPrefix(c.Err().Error(), "MOVED") || FailureOf(c.Err()) == Unknown):
			cluster.ReloadState(ctx) // what goes to one node follows no redirects: the next try knows better
		}
	}
	if len(unknown) > 0 {
		waitBehind(ctx, rdb, unknown)
	}
}

func waitBehind(ctx context.Context, rdb Pipeliner, calls []*Call) {
	pipe := rdb.Pipeline()
	replicas, timeout := 0, time.Duration(0)
	for _, c := range calls {
		_ = pipe.Process(ctx, c) // only queues it
		replicas = max(replicas, c.replication.replicas)
		timeout = max(timeout, c.replication.timeout)
	}
	behind := wait{redis.NewIntCmd(ctx, "wait", replicas, timeout.Milliseconds())}
	_ = pipe.Process(ctx, behind) // only queues it
	_, _ = pipe.Exec(ctx)         // the errors stay in the commands
	for _, c := range calls {
		c.replication.acked = int(behind.Val())
		if c.Err() == nil && behind.Err() != nil {
			c.SetErr(behind.Err())
		}
	}
}
