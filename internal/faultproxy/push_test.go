package faultproxy_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/internal/faultproxy"
)

// subscribe returns the texts of the messages of a client that has subscribed to the
// channels a and b, and by pattern to p*.
func subscribe(t *testing.T, rdb *redis.Client) <-chan string {
	t.Helper()
	sub := rdb.Subscribe(t.Context(), "a", "b")
	t.Cleanup(func() { _ = sub.Close() })
	if err := sub.PSubscribe(t.Context(), "p*"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := sub.Receive(limit(t)); err != nil {
			t.Fatal(err)
		}
	}
	texts := make(chan string, 100)
	go func() {
		defer close(texts)
		for message := range sub.Channel() {
			texts <- message.Payload
		}
	}()
	return texts
}

func (b bench) publish(t *testing.T, channel, text string) {
	t.Helper()
	if n, err := b.direct.Publish(t.Context(), channel, text).Result(); n != 1 || err != nil {
		t.Fatalf("PUBLISH %s: %d receivers, %v", channel, n, err)
	}
}

func expectTexts(t *testing.T, texts <-chan string, want ...string) {
	t.Helper()
	for _, text := range want {
		if got := receive(t, texts); got != text {
			t.Fatalf("got the message %q, want %q", got, text)
		}
	}
	mustPend(t, texts)
}

func waitPushes(t *testing.T, p *faultproxy.Proxy, n int) {
	t.Helper()
	if err := p.WaitPushes(limit(t), n); err != nil {
		t.Fatal(err)
	}
}

// forBothProtocols runs a test with a client of RESP3, where messages are pushes,
// and of RESP2, where they are arrays.
func forBothProtocols(t *testing.T, f func(*testing.T, bench)) {
	t.Helper()
	t.Run("RESP3", func(t *testing.T) { t.Parallel(); f(t, newBench(t)) })
	t.Run("RESP2", func(t *testing.T) { t.Parallel(); f(t, newBench(t, resp2)) })
}

func TestHoldPushes(t *testing.T) {
	t.Parallel()
	forBothProtocols(t, func(t *testing.T, b bench) {
		t.Helper()
		texts := subscribe(t, b.rdb)
		b.proxy.HoldPushes()
		b.publish(t, "a", "1")
		b.publish(t, "b", "2")
		b.publish(t, "pattern", "3")
		waitPushes(t, b.proxy, 3)
		if err := b.rdb.Ping(limit(t)).Err(); err != nil {
			t.Fatal(err)
		}
		mustPend(t, texts)
		b.proxy.ReleasePushes()
		b.publish(t, "a", "4")
		expectTexts(t, texts, "1", "2", "3", "4")
	})
}

func TestHoldPushesOfSomeChannels(t *testing.T) {
	t.Parallel()
	forBothProtocols(t, func(t *testing.T, b bench) {
		t.Helper()
		texts := subscribe(t, b.rdb)
		b.proxy.HoldPushes(
			func(channel string) bool { return channel == "a" },
			func(channel string) bool { return channel == "pattern" },
		)
		b.publish(t, "a", "held 1")
		b.publish(t, "pattern", "held 2")
		b.publish(t, "b", "passes")
		b.publish(t, "pat", "passes too")
		expectTexts(t, texts, "passes", "passes too")
		waitPushes(t, b.proxy, 2)
		b.proxy.ReleasePushes()
		expectTexts(t, texts, "held 1", "held 2")
	})
}

func TestDropPushes(t *testing.T) {
	t.Parallel()
	forBothProtocols(t, func(t *testing.T, b bench) {
		t.Helper()
		texts := subscribe(t, b.rdb)
		b.proxy.DropPushes(2)
		for _, text := range []string{"1", "2", "3"} {
			b.publish(t, "a", text)
		}
		expectTexts(t, texts, "3")
		waitPushes(t, b.proxy, 2)
		b.proxy.DropPushes(5)
		b.proxy.DropPushes(0)
		b.publish(t, "a", "4")
		expectTexts(t, texts, "4")
	})
}

func TestShardedMessagesAreMessagesToo(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	w := dialWire(t, b.proxy.Addr())
	w.send("SSUBSCRIBE c")
	w.expect("*3 $10 ssubscribe $1 c :1")
	b.proxy.DropPushes(1)
	for _, text := range []string{"x", "y"} {
		if err := b.direct.SPublish(t.Context(), "c", text).Err(); err != nil {
			t.Fatal(err)
		}
	}
	w.expect("*3 $8 smessage $1 c $1 y")
}

// A message can come between replies; it is never taken for one.
func TestMessagesDoNotDisturbTheOrderOfReplies(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rule := b.proxy.Add(faultproxy.Nth(2, faultproxy.IsCommand("INCR")), faultproxy.HoldReply)
	w := dialWire(t, b.proxy.Addr())
	w.toRESP3()
	w.send("SUBSCRIBE c")
	w.expect(">3 $9 subscribe $1 c :1")
	w.send("INCR n")
	w.expect(":1")
	b.publish(t, "c", "x")
	w.send("INCR n", "GET n")
	w.expect(">3 $7 message $1 c $1 x")
	waitHit(t, rule)
	w.expectSilence()
	rule.Release()
	w.expect(":2 $1 2")
}

// While the confirmation is held, the server sends messages already: a client that
// looks once after it was confirmed must not miss one.
func TestHoldReplyOfSubscribe(t *testing.T) {
	t.Parallel()
	forBothProtocols(t, func(t *testing.T, b bench) {
		t.Helper()
		rule := b.proxy.Add(faultproxy.IsCommand("SUBSCRIBE"), faultproxy.HoldReply)
		sub := b.rdb.Subscribe(t.Context(), "a")
		t.Cleanup(func() { _ = sub.Close() })
		confirmed := make(chan any, 1)
		go func() {
			v, err := sub.Receive(limit(t))
			if err != nil {
				v = err
			}
			confirmed <- v
		}()
		waitHit(t, rule)
		b.publish(t, "a", "1") // the server knows the subscriber
		mustPend(t, confirmed)
		rule.Release()
		if v, ok := receive(t, confirmed).(*redis.Subscription); !ok || v.Channel != "a" {
			t.Fatalf("got %v, want the confirmation", v)
		}
		if message, err := sub.ReceiveMessage(limit(t)); err != nil || message.Payload != "1" {
			t.Fatalf("got %v, %v", message, err)
		}
	})
}

// Each confirmation finds its request, so the rule for the request behind them acts
// on the right reply.
func TestConfirmationsAreRepliesInOrder(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rule := b.proxy.Add(faultproxy.IsCommand("INCR"), faultproxy.HoldReply)
	refused := b.proxy.Add(faultproxy.HasArg("no"), faultproxy.ReplyError("NOPERM"))
	w := dialWire(t, b.proxy.Addr())
	w.toRESP3()
	w.send(
		"SUBSCRIBE a b", "GET no", "PSUBSCRIBE a", "UNSUBSCRIBE a", "UNSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE",
		"SUBSCRIBE no", "INCR n", "GET n",
	)
	w.expect(">3 $9 subscribe $1 a :1 >3 $9 subscribe $1 b :2 -NOPERM >3 $10 psubscribe $1 a :3")
	w.expect(">3 $11 unsubscribe $1 a :2 >3 $11 unsubscribe $1 b :1 >3 $11 unsubscribe _ :1")
	w.expect(">3 $12 punsubscribe $1 a :0 -NOPERM")
	waitHit(t, rule)
	w.expectSilence()
	rule.Release()
	w.expect(":1 $1 1")
	if refused.Hits() != 2 {
		t.Fatalf("%d hits, want 2", refused.Hits())
	}
}

// UNSUBSCRIBE without arguments has as many replies as there are channels.
func TestRuleActsOnceOnAllReplies(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	subscribe := b.proxy.Add(faultproxy.IsCommand("SUBSCRIBE"), faultproxy.HoldReply)
	second := b.proxy.Add(faultproxy.Nth(2, faultproxy.IsCommand("UNSUBSCRIBE")), faultproxy.HoldReply)
	w := dialWire(t, b.proxy.Addr())
	w.toRESP3()
	w.send("SUBSCRIBE a b c", "UNSUBSCRIBE", "UNSUBSCRIBE")
	waitHit(t, subscribe)
	w.expectSilence()
	subscribe.Release()
	w.expect(">3 $9 subscribe $1 a :1 >3 $9 subscribe $1 b :2 >3 $9 subscribe $1 c :3")
	for range 3 {
		w.expect(">3 $11 unsubscribe $1")
		for range 2 { // the channel, in no certain order, and the count
			if _, err := w.br.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
	}
	waitHit(t, second)
	w.expectSilence()
	second.Release()
	w.expect(">3 $11 unsubscribe _ :0")
	if subscribe.Hits() != 1 || second.Hits() != 1 {
		t.Fatalf("%d and %d hits, want 1 each", subscribe.Hits(), second.Hits())
	}
}

// A push that is no message and no confirmation is nobody's reply.
func TestOtherPushesPass(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	rule := b.proxy.Add(faultproxy.IsCommand("BLPOP"), faultproxy.HoldReply)
	b.proxy.HoldPushes()
	w := dialWire(t, b.proxy.Addr())
	w.toRESP3()
	w.send("CLIENT TRACKING ON", "GET k", "BLPOP list 0")
	w.expect("+OK _")
	poll(t, "BLPOP waits", func() bool {
		info, err := b.direct.InfoMap(limit(t), "clients").Result()
		return err == nil && info["Clients"]["blocked_clients"] == "1"
	})
	if err := b.direct.Set(limit(t), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	w.expect(">2 $10 invalidate *1 $1 k")
	if rule.Hits() != 0 {
		t.Fatal("the push was taken for the reply")
	}
	if err := b.direct.RPush(limit(t), "list", "x").Err(); err != nil {
		t.Fatal(err)
	}
	waitHit(t, rule)
	rule.Release()
	w.expect("*2 $4 list $1 x")
}

// An error answers a SUBSCRIBE to many channels at once, and what the server ends by
// itself answers nothing.
func TestRefusedSubscribeHasOneReply(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := t.Context()
	if err := b.direct.Do(ctx, "ACL", "SETUSER", "few", "on", "nopass", "~*", "+@all", "resetchannels", "&a").Err(); err != nil {
		t.Fatal(err)
	}
	rule := b.proxy.Add(faultproxy.IsCommand("INCR"), faultproxy.SwallowReplyThenClose)
	w := dialWire(t, b.proxy.Addr())
	w.toRESP3("AUTH few x")
	b.proxy.Add(faultproxy.HasArg("no"), faultproxy.ReplyError("NO"))
	for range 2 {
		w.send("SUBSCRIBE b c", "GET no") // the second answer waits for nothing else
		if line, err := w.br.ReadString('\n'); err != nil || line[0] != '-' {
			t.Fatalf("SUBSCRIBE got %q, %v; want an error", line, err)
		}
		w.expect("-NO")
	}
	w.send("UNSUBSCRIBE", "GET k", "INCR n")
	w.expect(">3 $11 unsubscribe _ :0 _")
	w.expectEnd()
	if rule.Hits() != 1 || b.get(t, "n") != "1" {
		t.Fatalf("%d hits, n = %s", rule.Hits(), b.get(t, "n"))
	}
}
