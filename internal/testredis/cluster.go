package testredis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	slots       = 16384
	formTimeout = 60 * time.Second // two seconds on a machine that has time
	formPoll    = 20 * time.Millisecond
)

// Cluster is a Redis Cluster of one test. Its masters share the slots evenly.
type Cluster struct {
	Masters  []*Server
	Replicas []*Server // the i-th is the i-th master's, as the cluster begins

	tb  testing.TB
	ids map[*Server]string
}

// StartCluster runs a cluster of so many masters, each with a replica if
// replicated, and returns when all nodes agree that it works. A node counts as
// failed after two silent seconds; args are given to every node last, so they win.
// Each node is a [Server] of its own, and ends as those do.
func StartCluster(tb testing.TB, masters int, replicated bool, args ...string) *Cluster {
	tb.Helper()
	c := &Cluster{tb: tb, ids: map[*Server]string{}}
	all := append([]string{
		"--cluster-enabled", "yes", "--cluster-node-timeout", "2000",
		"--cluster-allow-replica-migration", "no", "--repl-diskless-sync-delay", "0",
		"--repl-ping-replica-period", "1", // a replica that has read nothing yet is not shown to clients
	}, args...)
	for range masters {
		c.Masters = append(c.Masters, Start(tb, all...))
	}
	if replicated {
		for range masters {
			c.Replicas = append(c.Replicas, Start(tb, all...))
		}
	}
	if err := c.form(tb.Context()); err != nil {
		tb.Fatalf("testredis: form a cluster: %v", err)
	}
	return c
}

// Nodes are all nodes, masters first.
func (c *Cluster) Nodes() []*Server { return slices.Concat(c.Masters, c.Replicas) }

// ReplicaOf is the replica that a master began with.
func (c *Cluster) ReplicaOf(master *Server) *Server {
	return c.Replicas[slices.Index(c.Masters, master)]
}

// Client returns a client of the cluster, closed when the test ends. Each opt may
// change the options; the addresses are set.
func (c *Cluster) Client(tb testing.TB, opts ...func(*redis.ClusterOptions)) *redis.ClusterClient {
	tb.Helper()
	o := &redis.ClusterOptions{}
	for _, s := range c.Nodes() {
		o.Addrs = append(o.Addrs, s.Addr())
	}
	for _, opt := range opts {
		opt(o)
	}
	rdb := redis.NewClusterClient(o)
	tb.Cleanup(func() { _ = rdb.Close() }) // a test may have closed it before
	return rdb
}

// Flush empties the cluster. It also works in a Cleanup.
func (c *Cluster) Flush(tb testing.TB) {
	tb.Helper()
	for _, s := range c.Masters {
		if err := s.client().FlushAll(context.WithoutCancel(tb.Context())).Err(); err != nil {
			tb.Errorf("testredis: flush: %v", err)
		}
	}
}

// Serving is the node that serves the key's slot, as the first node that answers
// sees it, and the slot.
func (c *Cluster) Serving(tb testing.TB, key string) (node *Server, slot int) {
	tb.Helper()
	for _, s := range c.Nodes() {
		number, err := s.client().ClusterKeySlot(tb.Context(), key).Result()
		if err != nil {
			continue
		}
		shards, err := s.client().ClusterShards(tb.Context()).Result()
		if err != nil {
			continue
		}
		for _, shard := range shards {
			if node := c.master(shard); node != nil && has(shard, number) {
				return node, int(number)
			}
		}
	}
	tb.Fatalf("testredis: nobody serves %q", key)
	return nil, 0
}

// master is the node that serves a shard. One that was and died may be in it, too;
// it counts while there is no other.
func (c *Cluster) master(shard redis.ClusterShard) (master *Server) {
	for _, node := range shard.Nodes {
		for _, s := range c.Nodes() {
			if node.Role == "master" && node.Port == int64(s.port.number) && (node.Health == "online" || master == nil) {
				master = s
			}
		}
	}
	return master
}

func has(shard redis.ClusterShard, slot int64) bool {
	return slices.ContainsFunc(shard.Slots, func(r redis.SlotRange) bool { return r.Start <= slot && slot <= r.End })
}

// Open lets a slot migrate from one node to another: from now on the old node
// answers ASK for keys that it has no more, and TRYAGAIN to scripts of several keys
// of which some are gone. [Cluster.Move] moves keys, [Cluster.Close] ends it.
func (c *Cluster) Open(tb testing.TB, slot int, from, to *Server) {
	tb.Helper()
	c.must(tb, to, "CLUSTER", "SETSLOT", slot, "IMPORTING", c.ids[from])
	c.must(tb, from, "CLUSTER", "SETSLOT", slot, "MIGRATING", c.ids[to])
}

// Move moves keys of a slot that is open; none: all that are there at this time.
func (c *Cluster) Move(tb testing.TB, slot int, from, to *Server, keys ...string) {
	tb.Helper()
	if len(keys) == 0 {
		var err error
		if keys, err = from.client().ClusterGetKeysInSlot(tb.Context(), slot, 1000).Result(); err != nil {
			tb.Fatalf("testredis: keys of slot %d: %v", slot, err)
		}
	}
	for _, key := range keys { // one that ended meanwhile is answered NOKEY
		c.must(tb, from, "MIGRATE", "127.0.0.1", to.port.number, key, 0, callTimeout.Milliseconds())
	}
}

// Close gives an open slot to the node that it migrates to, and tells all masters.
func (c *Cluster) Close(tb testing.TB, slot int, from, to *Server) {
	tb.Helper()
	c.must(tb, to, "CLUSTER", "SETSLOT", slot, "NODE", c.ids[to]) // the new one first, as redis-cli does
	c.must(tb, from, "CLUSTER", "SETSLOT", slot, "NODE", c.ids[to])
	for _, s := range c.Masters {
		if s != from && s != to {
			c.must(tb, s, "CLUSTER", "SETSLOT", slot, "NODE", c.ids[to])
		}
	}
}

func (c *Cluster) must(tb testing.TB, s *Server, args ...any) {
	tb.Helper()
	if err := s.client().Do(tb.Context(), args...).Err(); err != nil {
		tb.Fatalf("testredis: %v at %s: %v", args, s.Addr(), err)
	}
}

// form makes one cluster of nodes that know nothing of each other.
func (c *Cluster) form(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, formTimeout)
	defer cancel()
	nodes := c.Nodes()
	for i, s := range nodes {
		id, err := s.client().ClusterMyID(ctx).Result()
		if err != nil {
			return err
		}
		c.ids[s] = id
		// Else they would begin with equal epochs, and settle that first.
		if err := s.client().Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
			return err
		}
		if n := len(c.Masters); i < n {
			if err := s.client().ClusterAddSlotsRange(ctx, i*slots/n, (i+1)*slots/n-1).Err(); err != nil {
				return err
			}
		}
		for _, other := range nodes[:i] {
			if err := s.client().ClusterMeet(ctx, "127.0.0.1", strconv.Itoa(other.port.number)).Err(); err != nil {
				return err
			}
		}
	}
	if err := eachUntil(ctx, nodes, knows(len(nodes))); err != nil {
		return err
	}
	for i, s := range c.Replicas {
		if err := s.client().ClusterReplicate(ctx, c.ids[c.Masters[i]]).Err(); err != nil {
			return err
		}
	}
	if err := eachUntil(ctx, c.Replicas, follows); err != nil {
		return err
	}
	return eachUntil(ctx, nodes, works(len(c.Masters), len(c.Replicas) > 0))
}

// eachUntil asks each node until it agrees.
func eachUntil(ctx context.Context, nodes []*Server, ask func(context.Context, *redis.Client) error) error {
	ticker := time.NewTicker(formPoll)
	defer ticker.Stop()
	for _, s := range nodes {
		for {
			err := ask(ctx, s.client())
			if err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s: %w", s.Addr(), err)
			case <-ticker.C:
			}
		}
	}
	return nil
}

// knows asks whether a node has met so many, itself among them.
func knows(n int) func(context.Context, *redis.Client) error {
	return func(ctx context.Context, rdb *redis.Client) error {
		text, err := rdb.ClusterNodes(ctx).Result()
		if err != nil {
			return err
		}
		if strings.Count(text, " connected") < n || strings.Contains(text, "handshake") {
			return fmt.Errorf("it does not know all nodes:\n%s", text)
		}
		return nil
	}
}

// follows asks whether a replica has its master's data.
func follows(ctx context.Context, rdb *redis.Client) error {
	info, err := rdb.InfoMap(ctx, "replication").Result()
	if err == nil && info["Replication"]["master_link_status"] != "up" {
		err = errors.New("the replica is not in step with its master")
	}
	return err
}

// works asks whether a node says that the cluster works, with so many masters.
func works(masters int, replicated bool) func(context.Context, *redis.Client) error {
	return func(ctx context.Context, rdb *redis.Client) error {
		info, err := rdb.ClusterInfo(ctx).Result()
		if err != nil {
			return err
		}
		if !strings.Contains(info, "cluster_state:ok") {
			return fmt.Errorf("the cluster is not ok:\n%s", info)
		}
		shards, err := rdb.ClusterShards(ctx).Result()
		if err != nil {
			return err
		}
		if len(shards) != masters {
			return fmt.Errorf("it knows %d shards", len(shards))
		}
		for _, shard := range shards {
			for _, node := range shard.Nodes {
				if node.Health != "online" {
					return fmt.Errorf("it says that %s is %s", node.ID, node.Health)
				}
			}
			if replicated != (len(shard.Nodes) == 2) {
				return fmt.Errorf("it knows %d nodes of a shard", len(shard.Nodes))
			}
		}
		return nil
	}
}
