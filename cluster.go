package holdfast

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/lua"
)

// clusterClient is what a go-redis cluster client can beside what all can.
type clusterClient interface {
	driver
	MasterForKey(ctx context.Context, key string) (*redis.Client, error)
	ReloadState(ctx context.Context)
}

// cluster is a cluster client that looks for the new master when a node gives no
// answer. go-redis asks anew who serves what only when a node redirects it, which a
// dead one does not, or after ClusterStateReloadInterval, a minute: longer than a
// lease lasts.
type cluster struct {
	clusterClient
}

// Process runs a command.
func (c cluster) Process(ctx context.Context, cmd redis.Cmder) error {
	err := c.clusterClient.Process(ctx, cmd)
	c.notice(ctx, err)
	return err
}

// Pipeline makes a pipeline.
func (c cluster) Pipeline() redis.Pipeliner { return noticed{c.clusterClient.Pipeline(), c} }

// Subscribe is called anew each time that a subscription broke.
func (c cluster) Subscribe(ctx context.Context, channels ...string) *redis.PubSub {
	c.ReloadState(ctx)
	return c.clusterClient.Subscribe(ctx, channels...)
}

// notice looks at an error. Asking anew is done in the background by go-redis, five
// times a second at the most.
func (c cluster) notice(ctx context.Context, err error) {
	if err != nil && lua.FailureOf(err) == lua.Unknown && !errors.Is(err, context.Canceled) {
		c.ReloadState(ctx)
	}
}

// noticed is a pipeline whose errors are looked at.
type noticed struct {
	redis.Pipeliner
	c cluster
}

// Exec sends the pipeline.
func (p noticed) Exec(ctx context.Context) ([]redis.Cmder, error) {
	cmds, err := p.Pipeliner.Exec(ctx)
	for _, cmd := range cmds {
		p.c.notice(ctx, cmd.Err())
	}
	return cmds, err
}

// nodeOf returns what names the node that a call goes to. Calls that wait for
// replicas count as for another node: while replicas are gone their pipelines take
// long, and must not keep back what goes to the same master and waits for none.
func nodeOf(d driver) func(*lua.Call) string {
	master := masterOf(d)
	return func(call *lua.Call) string {
		if call.WaitsForReplicas() {
			return master(call) + " with replicas"
		}
		return master(call)
	}
}

// masterOf returns what names the master that a call goes to, as far as the client
// knows: the one that serves its slot in a cluster, the one there is elsewhere.
func masterOf(d driver) func(*lua.Call) string {
	c, ok := d.(clusterClient)
	if !ok {
		return func(*lua.Call) string { return "" }
	}
	// A context that has ended: before anything was answered go-redis would ask the
	// nodes for their slots, and this must not do I/O.
	ctx, cancel := context.WithCancel(context.Background()) //nolint:forbidigo // see above
	cancel()
	return func(call *lua.Call) string {
		key, _ := call.Keys()[0].(string)
		node, err := c.MasterForKey(ctx, key)
		if err != nil {
			return ""
		}
		return node.Options().Addr
	}
}
