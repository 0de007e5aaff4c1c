package guard_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/guard"
	"github.com/holdfast-go/holdfast/internal/faultproxy"
	"github.com/holdfast-go/holdfast/internal/testredis"
)

// What only a real server, or a real network, does.

// The driver repeats a check whose answer was lost, which changes nothing, and never
// repeats a user's commands.
func TestReplyLost(t *testing.T) {
	t.Parallel()
	s := testredis.Start(t)
	rdb := s.Client(t)
	proxy := faultproxy.New(t, s.Addr())
	far := s.Client(t, func(o *redis.Options) { o.Addr = proxy.Addr() })
	f := guard.New(far, fenceKey)
	add := guard.Cmd{"INCR", register}
	if _, err := f.Do(t.Context(), now, add); err != nil { // loads the script
		t.Fatal(err)
	}
	lost := proxy.Add(faultproxy.IsCommand("EVALSHA"), faultproxy.SwallowReplyThenClose)
	if _, err := f.Do(t.Context(), now+1, add); err == nil || errors.Is(err, guard.ErrStale) {
		t.Fatalf("%v, though no answer came", err)
	}
	if lost.Hits() != 1 || get(t, rdb, string(register)) != "2" {
		t.Fatalf("the command was sent %d times, and the register is %s", lost.Hits(), get(t, rdb, string(register)))
	}
	lost.Remove()
	if _, err := f.Do(t.Context(), now+1, add); err != nil { // the caller may
		t.Fatal(err)
	}
	first := true
	once := func(c faultproxy.Command) bool {
		hit := first && c.Name == "EVALSHA"
		first = first && !hit
		return hit
	}
	lost = proxy.Add(once, faultproxy.SwallowReplyThenClose)
	if err := f.Check(t.Context(), now+2); err != nil || lost.Hits() != 1 {
		t.Fatalf("%v after %d lost answers", err, lost.Hits())
	}
	wantStale(t, f.Check(t.Context(), now+1), now+1, now+2)
}

func TestScriptFlush(t *testing.T) {
	t.Parallel()
	rdb := testredis.Start(t).Client(t)
	f := guard.New(rdb, fenceKey)
	for i := range int64(3) {
		if err := rdb.ScriptFlush(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
		if replies, err := f.Do(t.Context(), now+i, guard.Cmd{"INCR", register}); err != nil || replies[0].Val() != i+1 {
			t.Fatal(replies, err)
		}
		wantStale(t, f.Check(t.Context(), now-1), now-1, now+i)
	}
}

// A server that is out of memory refuses before anything is written, and a stale
// token is told so all the same.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	rdb := testredis.Start(t).Client(t)
	f := guard.New(rdb, fenceKey)
	if _, err := f.Do(t.Context(), now, set("before")); err != nil {
		t.Fatal(err)
	}
	if err := rdb.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	wantStale(t, f.Check(t.Context(), now-1), now-1, now)
	if _, err := f.Do(t.Context(), now+1, set("after")); !redis.HasErrorPrefix(err, "OOM") {
		t.Fatal(err)
	}
	if got := get(t, rdb, fenceKey); got != "1790000000123457" {
		t.Fatalf("the fence keeps %s", got)
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	rdb := cluster(t)
	for _, f := range []*guard.Fence{guard.New(rdb, fenceKey), guard.NewField(rdb, "{r}:hash", "last_token")} {
		replies, err := f.Do(t.Context(), now, set("text"), guard.Cmd{"GET", register})
		if err != nil || replies[1].Val() != "text" {
			t.Fatal(replies, err)
		}
		wantStale(t, f.Check(t.Context(), now-1), now-1, now)
		_, err = f.Do(t.Context(), now+1, guard.Cmd{"SET", guard.Key("elsewhere"), 1})
		if !redis.HasErrorPrefix(err, "CROSSSLOT") {
			t.Fatal(err)
		}
	}
	if err := guard.Refusal(withdraw.Run(t.Context(), rdb, []string{fenceKey, "{r}:balance"}, now-1, 1).Err()); !errors.Is(err, guard.ErrStale) {
		t.Fatal(err)
	}
}

// cluster is a client of a cluster of one node, which judges slots as any does.
func cluster(t *testing.T) *redis.ClusterClient {
	t.Helper()
	s := testredis.Start(t, "--cluster-enabled", "yes")
	admin := s.Client(t)
	if err := admin.ClusterAddSlotsRange(t.Context(), 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		info, err := admin.ClusterInfo(t.Context()).Result()
		if err == nil && strings.Contains(info, "cluster_state:ok") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the cluster does not start: %v\n%s", err, info)
		}
	}
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{s.Addr()}})
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}
