package faultproxy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/internal/faultproxy"
)

var isSet = faultproxy.IsCommand("set")

func TestHoldRequest(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rule := b.proxy.Add(isSet, faultproxy.HoldRequest)
	w := dialWire(t, b.proxy.Addr())
	w.send("INCR before", "SET k v", "INCR behind")
	waitHit(t, rule)
	w.expect(":1")
	w.expectSilence()
	if b.get(t, "k") != "" || b.get(t, "behind") != "" {
		t.Fatal("the request, or one behind it, has reached the server")
	}
	if err := b.rdb.Incr(limit(t), "other connection").Err(); err != nil {
		t.Fatal(err)
	}
	rule.Release()
	w.expect("+OK :1")
	w.send("SET k w") // the rule holds nothing any more
	w.expect("+OK")
	if rule.Hits() != 2 {
		t.Fatalf("%d hits, want 2", rule.Hits())
	}
}

// A request that is held arrives even after its sender has given up.
func TestHeldRequestArrivesLate(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rule := b.proxy.Add(isSet, faultproxy.HoldRequest)
	done := async(func() error { return b.rdb.Set(limit(t), "k", "v", 0).Err() })
	waitHit(t, rule)
	if err := b.rdb.Close(); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, done); err == nil {
		t.Fatal("SET was answered")
	}
	if b.get(t, "k") != "" {
		t.Fatal("the request was not held")
	}
	rule.Release()
	poll(t, "the late SET is executed", func() bool { return b.get(t, "k") == "v" })
	poll(t, "the connection is closed after it", func() bool { return b.proxy.Conns() == 0 })
}

// A reply that finds its client gone does not take later requests with it.
func TestHeldRequestOutlivesAReplyThatNobodyReads(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	reply := b.proxy.Add(faultproxy.IsCommand("INCR"), faultproxy.HoldReply)
	request := b.proxy.Add(isSet, faultproxy.HoldRequest)
	w := dialWire(t, b.proxy.Addr())
	w.send("INCR n", "SET k v")
	waitHit(t, reply)
	waitHit(t, request)
	w.reset()
	reply.Release()
	for range 10 { // the writer of that connection gets its turn
		if err := b.rdb.Ping(limit(t)).Err(); err != nil {
			t.Fatal(err)
		}
	}
	request.Release()
	poll(t, "the late SET is executed", func() bool { return b.get(t, "k") == "v" })
}

func TestHoldReply(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rule := b.proxy.Add(isSet, faultproxy.HoldReply)
	done := async(func() error { return b.rdb.Set(limit(t), "k", "v", 0).Err() })
	waitHit(t, rule)
	if b.get(t, "k") != "v" {
		t.Fatal("the server has not executed the request")
	}
	mustPend(t, done)
	rule.Release()
	if err := receive(t, done); err != nil {
		t.Fatal(err)
	}
}

func TestSwallowReplyThenClose(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rule := b.proxy.Add(faultproxy.First(1, isSet), faultproxy.SwallowReplyThenClose)
	err := b.rdb.Set(limit(t), "k", "v", 0).Err()
	if !errors.Is(err, io.EOF) && (err == nil || !strings.Contains(err.Error(), "reset")) {
		t.Fatalf("SET = %v, want a closed connection", err)
	}
	if rule.Hits() != 1 || b.get(t, "k") != "v" {
		t.Fatalf("%d hits, k = %q", rule.Hits(), b.get(t, "k"))
	}
	if err := b.rdb.Set(limit(t), "k", "w", 0).Err(); err != nil {
		t.Fatalf("the next SET = %v", err)
	}
}

func TestSwallowReplyThenHang(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rule := b.proxy.Add(isSet, faultproxy.SwallowReplyThenHang)
	w := dialWire(t, b.proxy.Addr())
	w.send("INCR before", "SET k v", "INCR behind")
	waitHit(t, rule)
	w.expect(":1")
	w.expectSilence()
	poll(t, "requests still arrive", func() bool { return b.get(t, "behind") == "1" })
	if b.get(t, "k") != "v" {
		t.Fatal("the server has not executed the request")
	}
	if err := b.rdb.Incr(limit(t), "n").Err(); err != nil {
		t.Fatalf("another connection: %v", err)
	}
}

func TestCutBeforeForward(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rule := b.proxy.Add(isSet, faultproxy.CutBeforeForward)
	w := dialWire(t, b.proxy.Addr())
	w.send("SET k v", "INCR behind")
	w.expectEnd()
	waitHit(t, rule)
	if b.get(t, "k") != "" || b.get(t, "behind") != "" {
		t.Fatal("the server has seen a request of the closed connection")
	}
	if err := b.rdb.Incr(limit(t), "n").Err(); err != nil {
		t.Fatal(err)
	}
}

func TestReplyErrorComesInItsTurn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	held := b.proxy.Add(faultproxy.HasArg("first"), faultproxy.HoldReply)
	rule := b.proxy.Add(isSet, faultproxy.ReplyError("LOADING"))
	w := dialWire(t, b.proxy.Addr())
	w.send("INCR first", "SET k v", "SET k v", "INCR last")
	waitHit(t, held)
	if err := rule.WaitHits(limit(t), 2); err != nil {
		t.Fatal(err)
	}
	w.expectSilence()
	held.Release()
	w.expect(":1 -LOADING -LOADING :1")
	if b.get(t, "k") != "" {
		t.Fatal("the server has seen the request")
	}
	if err := b.rdb.Set(limit(t), "k", "v", 0).Err(); !redis.HasErrorPrefix(err, "LOADING") {
		t.Fatalf("SET = %v, want LOADING", err)
	}
}

func TestRulesCombine(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	counts := b.proxy.Add(isSet, faultproxy.Pass)
	held := b.proxy.Add(isSet, faultproxy.HoldRequest)
	copied := b.proxy.Add(isSet, faultproxy.DuplicateLate)
	lost := b.proxy.Add(isSet, faultproxy.SwallowReplyThenClose)
	refused := b.proxy.Add(faultproxy.HasArg("no"), faultproxy.ReplyError("OOM"))
	last := b.proxy.Add(isSet, faultproxy.Pass)

	done := async(func() error { return b.rdb.Set(limit(t), "k", "v", 0).Err() })
	waitHit(t, held)
	if counts.Hits() != 1 || copied.Hits() != 0 {
		t.Fatal("the rules do not act in the order in which they were added")
	}
	held.Release()
	if err := receive(t, done); err == nil {
		t.Fatal("the reply came through")
	}
	waitHit(t, lost)
	if b.get(t, "k") != "v" {
		t.Fatal("the server has not executed the request")
	}
	b.direct.Del(t.Context(), "k")
	if err := copied.SendCopies(limit(t)); err != nil || b.get(t, "k") != "v" {
		t.Fatalf("the copy: %v, k = %q", err, b.get(t, "k"))
	}
	err := b.rdb.Set(limit(t), "no", "v", 0).Err()
	if !redis.HasErrorPrefix(err, "OOM") || refused.Hits() != 1 || last.Hits() != 1 || lost.Hits() != 1 {
		t.Fatalf("SET = %v; after an answer nothing else acts", err)
	}
}

func TestRemove(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rule := b.proxy.Add(isSet, faultproxy.HoldRequest)
	done := async(func() error { return b.rdb.Set(limit(t), "k", "v", 0).Err() })
	waitHit(t, rule)
	rule.Remove()
	if err := b.rdb.Set(limit(t), "other", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	mustPend(t, done)
	rule.Release()
	if err := receive(t, done); err != nil || rule.Hits() != 1 {
		t.Fatalf("SET = %v, %d hits", err, rule.Hits())
	}
}

func TestWaitHitsEndsWithItsContext(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rule := b.proxy.Add(isSet, faultproxy.Pass)
	if err := b.rdb.Set(limit(t), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	err := rule.WaitHits(soon(t), 2)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 of 2") {
		t.Fatalf("WaitHits = %v", err)
	}
}

func TestEndOfTheTestEndsWhatIsHeld(t *testing.T) {
	var ends []<-chan error
	t.Run("held", func(t *testing.T) {
		b := newBench(t)
		b.proxy.HoldPushes()
		for _, action := range []faultproxy.Action{faultproxy.HoldRequest, faultproxy.HoldReply} {
			rule := b.proxy.Add(isSet, action)
			// Without t: these connections are not closed by their own side.
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", b.proxy.Addr())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n"); err != nil {
				t.Fatal(err)
			}
			ends = append(ends, async(func() error {
				_, err := conn.Read(make([]byte, 1))
				return errors.Join(err, conn.Close())
			}))
			waitHit(t, rule)
			rule.Remove()
		}
	})
	for _, end := range ends {
		if err := receive(t, end); err == nil {
			t.Fatal("a byte came")
		}
	}
}
