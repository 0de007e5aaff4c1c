package lua_test

import (
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/lua"
)

// What a place in the queue means to a holder who passes the mutex on inside his
// process: see joined.lua.

// acquireAt acquires for a client of that inbox.
func (b *bed) acquireAt(id, inbox string) {
	b.t.Helper()
	b.run(lua.MutexAcquire, b.keys, id, strconv.Itoa(leaseMS)+" "+inbox+" somebody", leaseMS, "next", aliveMS)
}

func (b *bed) lastToken() int64 {
	b.t.Helper()
	n, err := strconv.ParseInt(b.get(b.last), 10, 64)
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}

// bothWays runs f with what most calls take, and with what those take that find
// the server's clock behind the queue: the scripts have both written out.
func bothWays(t *testing.T, f func(t *testing.T, b *bed, ahead bool)) {
	t.Helper()
	for name, ahead := range map[string]bool{"usual": false, "clock-back": true} {
		t.Run(name, func(t *testing.T) {
			backends(t, func(t *testing.T, b *bed) { f(t, b, ahead) })
		})
	}
}

// moveOn puts the first place in the queue an hour ahead of the clock.
func (b *bed) moveOn() {
	b.t.Helper()
	first := b.rdb.ZRangeByScoreWithScores(b.t.Context(), b.queue, &redis.ZRangeBy{Min: "1", Max: "+inf"}).Val()[0]
	b.do("zadd", b.queue, strconv.FormatFloat(first.Score+3.6e9, 'f', 0, 64), first.Member)
}

func TestJoinedReserves(t *testing.T) {
	bothWays(t, func(t *testing.T, b *bed, ahead bool) {
		token := b.mine("a", "lock")
		if got := b.lastToken(); got != token {
			t.Fatalf("the last token is %d, the holder's %d", got, token)
		}
		b.acquireAt("b", "inbox-b")
		if got := b.lastToken(); got != token {
			t.Errorf("reserved for a stranger: %d after %d", got, token)
		}
		if ahead {
			b.moveOn()
		}
		b.run(lua.MutexAcquire, b.keys, "d", "30000 inbox-a somebody", leaseMS, "lock", aliveMS)
		if got := b.lastToken(); got != token {
			t.Errorf("reserved for one who does not pass on: %d after %d", got, token)
		}
		b.acquireAt("c", "inbox-a")
		if got := b.lastToken(); got != token+10000 {
			t.Errorf("the last token is %d more than the holder's", got-token)
		}
	})
}

func TestJoinedIsTold(t *testing.T) {
	bothWays(t, func(t *testing.T, b *bed, ahead bool) {
		b.mine("a", "lock")
		sub := b.rdb.Subscribe(t.Context(), "inbox-a")
		defer func() { _ = sub.Close() }()
		if _, err := sub.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.acquireAt("own", "inbox-a") // alone: nothing to tell
		if ahead {
			b.moveOn()
		}
		b.acquireAt("first", "inbox-b")
		b.acquireAt("second", "inbox-c") // told already
		b.do("publish", "inbox-a", "the end")
		for _, want := range []string{"a 0 0", "the end"} {
			m, err := sub.ReceiveMessage(t.Context())
			if err != nil || m.Payload != want {
				t.Fatalf("told %v, %v; want %q", m, err, want)
			}
		}
	})
}

// A holder without a place of its own hears nothing: its next one sees the queue.
func TestJoinedIsSilent(t *testing.T) {
	backends(t, func(t *testing.T, b *bed) {
		b.mine("a", "lock")
		sub := b.rdb.Subscribe(t.Context(), "inbox-a")
		defer func() { _ = sub.Close() }()
		if _, err := sub.Receive(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.acquireAt("first", "inbox-b")
		b.acquireAt("second", "inbox-c")
		b.do("publish", "inbox-a", "the end")
		if m, err := sub.ReceiveMessage(t.Context()); err != nil || m.Payload != "the end" {
			t.Fatalf("told %v, %v", m, err)
		}
	})
}

// A release says which of the reserved tokens was the last one used: the next is
// above it, and above no more than it.
func TestReleaseSaysTheLastToken(t *testing.T) {
	const ahead = 3_600_000_000 // an hour: what is used is beyond the clock
	release := func(b *bed, id string, used int64) *lua.Call {
		return lua.NewCall(lua.MutexRelease, b.keys, id, requestOf(id), 0, 0, used)
	}
	backends(t, func(t *testing.T, b *bed) {
		token := b.mine("a", "lock")
		b.acquireAt("c", "inbox-a")
		b.leave(0+2, "c", 0)
		b.expect(1, release(b, "a", token+ahead))
		if got := b.lastToken(); got != token+ahead {
			t.Errorf("freed, the last token is %d too high", got-token-ahead)
		}
		if got := b.mine("b", "lock"); got != token+ahead+1 {
			t.Errorf("the next token is %d too high", got-token-ahead-1)
		}
		token += ahead + 1
		b.busy("d", "lock")
		b.expect(1, release(b, "b", token+5))
		if got := b.mine("d", "poll"); got != token+6 {
			t.Errorf("handed over, the next token is %d too high", got-token-6)
		}
		// With a tombstone to write, it goes the long way.
		token += 6
		b.busy("e", "lock")
		b.expect(1, lua.NewCall(lua.MutexRelease, b.keys, "d", requestOf("d"), graveMS, 0, token+5))
		if got := b.mine("e", "poll"); got != token+6 {
			t.Errorf("handed over the long way, the next token is %d too high", got-token-6)
		}
		token += 6
		b.expect(1, lua.NewCall(lua.MutexRelease, b.keys, "e", requestOf("e"), graveMS, 0, token+5))
		if got := b.lastToken(); got != token+5 {
			t.Errorf("freed the long way, the last token is %d too high", got-token-5)
		}
	})
}

// Who takes the lock away does not know which were used: the next token is above
// all that were reserved.
func TestEvictPassesTheReserved(t *testing.T) {
	backends(t, func(t *testing.T, b *bed) {
		token := b.mine("a", "lock")
		b.acquireAt("c", "inbox-a")
		b.do("set", b.last, token+3_600_000_000)
		b.run(lua.MutexEvict, b.keys, "a", requestOf("a"))
		if got, _ := strconv.ParseInt(b.get(b.last), 10, 64); got != token+3_600_000_001 {
			t.Errorf("the next token is %d after %d", got, token)
		}
	})
}
