package testredis

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"
)

// masterName is what the sentinels call the master that they watch.
const masterName = "main"

// Sentinels is a master with a replica, watched by three sentinels.
type Sentinels struct {
	Master, Replica *Server // as it begins
	Watchers        []*Server

	tb testing.TB
}

// StartSentinels runs them and returns when the replica is in step and each sentinel
// knows of all others. A master counts as failed after a silent second; two
// sentinels decide. args are given to the master and the replica.
func StartSentinels(tb testing.TB, args ...string) *Sentinels {
	tb.Helper()
	s := &Sentinels{tb: tb}
	args = append([]string{"--repl-diskless-sync-delay", "0"}, args...)
	s.Master = Start(tb, args...)
	s.Replica = StartReplica(tb, s.Master, args...)
	for range 3 {
		s.Watchers = append(s.Watchers, start(tb, s.watcherArgs, nil))
	}
	ctx, cancel := context.WithTimeout(tb.Context(), formTimeout)
	defer cancel()
	if err := eachUntil(ctx, s.Watchers, watches); err != nil {
		tb.Fatalf("testredis: start sentinels: %v", err)
	}
	return s
}

// StartReplica runs a replica of a server and returns when it is in step.
func StartReplica(tb testing.TB, of *Server, args ...string) *Server {
	tb.Helper()
	s := Start(tb, append([]string{"--replicaof", "127.0.0.1 " + strconv.Itoa(of.port.number)}, args...)...)
	ctx, cancel := context.WithTimeout(tb.Context(), formTimeout)
	defer cancel()
	if err := eachUntil(ctx, []*Server{s}, follows); err != nil {
		tb.Fatalf("testredis: start a replica: %v", err)
	}
	return s
}

// Client returns a client that asks the sentinels for the master, closed when the
// test ends. Each opt may change the options; the sentinels are set.
func (s *Sentinels) Client(tb testing.TB, opts ...func(*redis.FailoverOptions)) *redis.Client {
	tb.Helper()
	o := &redis.FailoverOptions{MasterName: masterName}
	for _, w := range s.Watchers {
		o.SentinelAddrs = append(o.SentinelAddrs, w.Addr())
	}
	for _, opt := range opts {
		opt(o)
	}
	rdb := redis.NewFailoverClient(o)
	tb.Cleanup(func() { _ = rdb.Close() }) // a test may have closed it before
	return rdb
}

// AwaitMaster waits until all sentinels say that this server is the master, and it
// is one.
func (s *Sentinels) AwaitMaster(tb testing.TB, want *Server) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), formTimeout)
	defer cancel()
	port := strconv.Itoa(want.port.number)
	err := eachUntil(ctx, s.Watchers, func(ctx context.Context, rdb *redis.Client) error {
		reply, err := rdb.Do(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", masterName).StringSlice()
		if err == nil && (len(reply) != 2 || reply[1] != port) {
			err = fmt.Errorf("the master is %v, not %s", reply, want.Addr())
		}
		return err
	})
	if err == nil {
		err = eachUntil(ctx, []*Server{want}, func(ctx context.Context, rdb *redis.Client) error {
			return isRole(ctx, rdb, "master")
		})
	}
	if err != nil {
		tb.Fatalf("testredis: await the master: %v", err)
	}
}

// AwaitReplica waits until this server is a replica, and in step with its master.
func (s *Sentinels) AwaitReplica(tb testing.TB, want *Server) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), formTimeout)
	defer cancel()
	err := eachUntil(ctx, []*Server{want}, func(ctx context.Context, rdb *redis.Client) error {
		if err := isRole(ctx, rdb, "slave"); err != nil {
			return err
		}
		return follows(ctx, rdb)
	})
	if err != nil {
		tb.Fatalf("testredis: await the replica: %v", err)
	}
}

func isRole(ctx context.Context, rdb *redis.Client, role string) error {
	info, err := rdb.InfoMap(ctx, "replication").Result()
	if got := info["Replication"]["role"]; err == nil && got != role {
		err = errors.New("it is a " + got)
	}
	return err
}

// watcherArgs writes a sentinel's configuration file, which it must be able to
// rewrite, unless there is one already.
func (s *Sentinels) watcherArgs(w *Server) []string {
	path := filepath.Join(w.dir, "sentinel.conf")
	text := fmt.Sprintf(`port %d
bind 127.0.0.1
dir %s
protected-mode no
sentinel monitor %[3]s 127.0.0.1 %[4]d 2
sentinel down-after-milliseconds %[3]s 2000
sentinel failover-timeout %[3]s 5000
`, w.port.number, w.dir, masterName, s.Master.port.number)
	if _, err := os.Stat(path); err != nil {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			s.tb.Errorf("testredis: %v", err)
		}
	}
	return []string{path, "--sentinel"}
}

// watches asks a sentinel whether it knows the replica and the other sentinels.
func watches(ctx context.Context, rdb *redis.Client) error {
	state, err := rdb.Do(ctx, "SENTINEL", "MASTER", masterName).Result()
	if err != nil {
		return err
	}
	about, ok := state.(map[any]any) // RESP 3
	if !ok {
		return fmt.Errorf("a sentinel answers %T", state)
	}
	if about["num-slaves"] != "1" || about["num-other-sentinels"] != "2" || about["flags"] != "master" {
		return fmt.Errorf("a sentinel knows %v replicas, %v other sentinels; the master is %v",
			about["num-slaves"], about["num-other-sentinels"], about["flags"])
	}
	return nil
}
