package faultproxy_test

import (
	"strings"
	"testing"
)

func TestBlackholeUp(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	old := dialWire(t, b.proxy.Addr())
	old.send("PING")
	old.expect("+PONG")
	b.proxy.Blackhole(true, false)
	old.send("SET k v")
	old.expectSilence()
	fresh := dialWire(t, b.proxy.Addr())
	fresh.send("SET l v")
	fresh.expectSilence()
	if b.get(t, "k") != "" || b.get(t, "l") != "" {
		t.Fatal("a request came through")
	}
	b.proxy.Heal()
	old.expect("+OK")
	fresh.expect("+OK")
}

func TestBlackholeDown(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.proxy.Blackhole(false, true)
	w := dialWire(t, b.proxy.Addr())
	w.send("SET k v")
	poll(t, "the request comes through", func() bool { return b.get(t, "k") == "v" })
	w.expectSilence()
	b.server.Kill()
	w.expectSilence() // not even the end of the connection
	b.proxy.Heal()
	w.expect("+OK")
	w.expectEnd()
}

func TestBlackholeMakesAClientTimeOut(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.proxy.Blackhole(true, true)
	if err := b.rdb.Incr(soon(t), "n").Err(); !isTimeout(err) {
		t.Fatalf("INCR = %v, want the deadline", err)
	}
	b.proxy.Heal()
	if err := b.rdb.Incr(limit(t), "n").Err(); err != nil {
		t.Fatal(err)
	}
}

// What was sent into the hole arrives after it, though the sender has gone.
func TestBlackholeDelaysAndDoesNotLose(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.proxy.Blackhole(true, true)
	w := dialWire(t, b.proxy.Addr())
	w.send("SET k v", "INCR n")
	_ = w.conn.Close()
	b.proxy.Heal()
	poll(t, "the requests are executed", func() bool { return b.get(t, "k") == "v" && b.get(t, "n") == "1" })
}

func TestBlackholeHidesTheEndOfAConnection(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	clients := func() int {
		list, err := b.direct.ClientList(limit(t)).Result()
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(list, "\n")
	}
	before := clients()
	w := dialWire(t, b.proxy.Addr())
	w.send("PING")
	w.expect("+PONG")
	b.proxy.Blackhole(true, false)
	_ = w.conn.Close()
	for ctx := soon(t); ctx.Err() == nil; {
		if n := clients(); n != before+1 {
			t.Fatalf("the server has %d clients, want %d", n, before+1)
		}
	}
	b.proxy.Heal()
	poll(t, "the server sees the end", func() bool { return clients() == before })
}

func TestCutAllLosesWhatIsInTheHole(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.proxy.Blackhole(true, false)
	w := dialWire(t, b.proxy.Addr())
	w.send("SET k v")
	poll(t, "the connection is there", func() bool { return b.proxy.Conns() == 1 })
	b.proxy.CutAll()
	w.expectEnd()
	if n := b.proxy.Conns(); n != 0 {
		t.Fatalf("%d connections are left", n)
	}
	b.proxy.Heal()
	if err := b.rdb.Incr(limit(t), "n").Err(); err != nil { // new ones are welcome
		t.Fatal(err)
	}
	if b.get(t, "k") != "" {
		t.Fatal("the request came through")
	}
}

func TestCutPubSub(t *testing.T) {
	t.Parallel()
	for _, subscribe := range []string{"SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"} {
		b := newBench(t)
		plain, pubsub := dialWire(t, b.proxy.Addr()), dialWire(t, b.proxy.Addr())
		pubsub.send(subscribe + " c")
		if _, err := pubsub.br.ReadString(':'); err != nil { // all but the count
			t.Fatal(err)
		}
		pubsub.expect("1")
		b.proxy.CutPubSub()
		pubsub.expectEnd()
		plain.send("PING")
		plain.expect("+PONG")
	}
}

// go-redis subscribes again by itself, and what was published meanwhile is lost.
func TestClientSubscribesAgainAfterCutPubSub(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	sub := b.rdb.Subscribe(t.Context(), "c")
	t.Cleanup(func() { _ = sub.Close() })
	if _, err := sub.Receive(limit(t)); err != nil {
		t.Fatal(err)
	}
	messages := sub.Channel()
	b.proxy.CutPubSub()
	poll(t, "a message comes over the new connection", func() bool {
		b.direct.Publish(t.Context(), "c", "x")
		select {
		case <-messages:
			return true
		default:
			return false
		}
	})
}
