package lua_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/internal/keys"
	"github.com/holdfast-go/holdfast/internal/testredis"
	"github.com/holdfast-go/holdfast/locktest"
	"github.com/holdfast-go/holdfast/lua"
)

// What the calls of these tests ask for, unless they say otherwise.
const (
	leaseMS = 30000
	aliveMS = 1500
	graveMS = 90000 // of a tombstone
	keepMS  = aliveMS + 60000
	lastMS  = 600000 // of the last token
	bound   = 128    // places that one script may look at
)

// bed is one server with the keys of one lock.
type bed struct {
	t                 judge
	rdb               *redis.Client
	keys              []any
	lock, queue, last string
	embedded          bool
}

// judge is what the helpers need of a test: rapid's tests are none of testing's.
type judge interface {
	Helper()
	Context() context.Context
	Cleanup(f func())
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func newBed(t *testing.T, rdb *redis.Client) *bed {
	t.Helper()
	set, err := keys.For("holdfast:", "mutex", "order:7")
	if err != nil {
		t.Fatal(err)
	}
	return &bed{
		t: t, rdb: rdb,
		keys: []any{set.Lock, set.Queue, set.Token},
		lock: set.Lock, queue: set.Queue, last: set.Token,
	}
}

// backends runs f on the embedded server and on a real one.
func backends(t *testing.T, f func(t *testing.T, b *bed)) {
	t.Helper()
	t.Run("miniredis", func(t *testing.T) {
		rdb := redis.NewClient(&redis.Options{Addr: locktest.NewServer(t).Addr()})
		t.Cleanup(func() { _ = rdb.Close() })
		b := newBed(t, rdb)
		b.embedded = true
		f(t, b)
	})
	t.Run("redis", func(t *testing.T) {
		f(t, newBed(t, testredis.Start(t).Client(t)))
	})
}

func requestOf(id string) string {
	return strconv.Itoa(leaseMS) + " inbox-" + id + " the holder " + id
}

func placeOf(id string) string { return id + " " + requestOf(id) }

func (b *bed) run(s *lua.Script, keys []any, args ...any) *lua.Call {
	b.t.Helper()
	c := lua.NewCall(s, keys, args...)
	if err := c.Do(b.t.Context(), b.rdb); err != nil {
		b.t.Fatalf("%s %q: %v", s.Name(), args, err)
	}
	return c
}

func (b *bed) acquireCall(id, mode string) *lua.Call {
	return lua.NewCall(lua.MutexAcquire, b.keys, id, requestOf(id), leaseMS, mode, aliveMS)
}

func (b *bed) acquire(id, mode string) lua.Acquired {
	b.t.Helper()
	c := b.acquireCall(id, mode)
	_ = c.Do(b.t.Context(), b.rdb) // the error is in the call
	a, err := c.Acquired()
	if err != nil {
		b.t.Fatalf("acquire %s %s: %v", id, mode, err)
	}
	return a
}

// mine acquires and wants the lock; it returns the token.
func (b *bed) mine(id, mode string) int64 {
	b.t.Helper()
	a := b.acquire(id, mode)
	if a.Status != lua.Yours || a.Token <= 0 {
		b.t.Fatalf("acquire %s %s = %+v, want it to be the holder", id, mode, a)
	}
	return a.Token
}

// busy acquires and wants to hear that somebody else is first.
func (b *bed) busy(id, mode string) lua.Acquired {
	b.t.Helper()
	a := b.acquire(id, mode)
	if a.Status != lua.Busy {
		b.t.Fatalf("acquire %s %s = %+v, want busy", id, mode, a)
	}
	return a
}

// gone polls and wants to hear that there is no place.
func (b *bed) gone(id, mode string) {
	b.t.Helper()
	if a := b.acquire(id, mode); a != (lua.Acquired{Status: lua.Gone}) {
		b.t.Fatalf("acquire %s %s = %+v, want gone", id, mode, a)
	}
}

func (b *bed) releaseCall(id, request string, grave, rest int) *lua.Call {
	return lua.NewCall(lua.MutexRelease, b.keys, id, request, grave, rest, 0)
}

// expect runs a call and wants that number as the reply.
func (b *bed) expect(want int64, c *lua.Call) lua.Released {
	b.t.Helper()
	_ = c.Do(b.t.Context(), b.rdb) // the error is in the call
	if got, err := c.Int64(); err != nil || got != want {
		b.t.Fatalf("%q = %v, %v; want %d", c.Args()[3:], got, err, want)
	}
	r, err := c.Released()
	if err != nil || r != (lua.Released{Held: want&3 == 1, Taken: want&3 == 2, More: want&4 != 0, Muted: want&8 != 0}) {
		b.t.Fatalf("reply %d decoded as %+v, %v", want, r, err)
	}
	return r
}

// release gives back what was never waited for.
func (b *bed) release(want int64, id string) {
	b.t.Helper()
	b.expect(want, b.releaseCall(id, "", 0, 0))
}

// leave gives a place back, and what it may have been granted.
func (b *bed) leave(want int64, id string, grave int) {
	b.t.Helper()
	b.expect(want, b.releaseCall(id, requestOf(id), grave, 0))
}

func (b *bed) renew(want int64, id string, ms int) {
	b.t.Helper()
	b.expect(want, lua.NewCall(lua.MutexRenew, b.keys[:1], id, ms))
}

func (b *bed) drop(want int64, id string) {
	b.t.Helper()
	b.expect(want, lua.NewCall(lua.MutexDrop, b.keys[:1], id))
}

func (b *bed) pump(want int64) {
	b.t.Helper()
	b.expect(want, lua.NewCall(lua.MutexPump, b.keys))
}

func (b *bed) do(args ...any) {
	b.t.Helper()
	if err := b.rdb.Do(b.t.Context(), args...).Err(); err != nil {
		b.t.Fatalf("%q: %v", args, err)
	}
}

func (b *bed) get(key string) string {
	b.t.Helper()
	v, err := b.rdb.Get(b.t.Context(), key).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		b.t.Fatal(err)
	}
	return v
}

// holder is the id that has the lock, "" if nobody does.
func (b *bed) holder() string {
	b.t.Helper()
	id, _, _ := strings.Cut(b.get(b.lock), " ")
	return id
}

func (b *bed) exists(key string) bool {
	b.t.Helper()
	n, err := b.rdb.Exists(b.t.Context(), key).Result()
	if err != nil {
		b.t.Fatal(err)
	}
	return n == 1
}

// pttl is -1 for no end, -2 for no key.
func (b *bed) pttl(key string) int {
	b.t.Helper()
	ms, err := b.rdb.Do(b.t.Context(), "PTTL", key).Int()
	if err != nil {
		b.t.Fatal(err)
	}
	return ms
}

// fresh wants a TTL that was set to ms just now.
func (b *bed) fresh(key string, ms int) {
	b.t.Helper()
	if got := b.pttl(key); got > ms || got < ms-5000 {
		b.t.Fatalf("PTTL %s = %d, want about %d", key, got, ms)
	}
}

func (b *bed) nowMS() int64 {
	b.t.Helper()
	now, err := b.rdb.Time(b.t.Context()).Result()
	if err != nil {
		b.t.Fatal(err)
	}
	return now.UnixMilli()
}

// members are the queue's, by score.
func (b *bed) members() []redis.Z {
	b.t.Helper()
	all, err := b.rdb.ZRangeWithScores(b.t.Context(), b.queue, 0, -1).Result()
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

// places are the ids in the queue, in order.
func (b *bed) places() []string {
	b.t.Helper()
	var ids []string
	for _, z := range b.members() {
		if z.Score > 0 {
			id, rest, _ := strings.Cut(fmt.Sprint(z.Member), " ")
			if rest != requestOf(id) {
				b.t.Fatalf("place %q", z.Member)
			}
			ids = append(ids, id)
		}
	}
	return ids
}

func (b *bed) wantPlaces(ids ...string) {
	b.t.Helper()
	if got := b.places(); !slices.Equal(got, ids) {
		b.t.Fatalf("places %q, want %q", got, ids)
	}
}

// mark is when the mark "live <id>" or "gone <id>" ends; 0 if there is none.
func (b *bed) mark(member string) int64 {
	b.t.Helper()
	score, err := b.rdb.ZScore(b.t.Context(), b.queue, member).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		b.t.Fatal(err)
	}
	return -int64(score)
}

// enqueue writes a place as if its waiter had come long ago. It counts as alive
// for that long; none: it has no mark.
func (b *bed) enqueue(score int, id string, alive ...time.Duration) {
	b.t.Helper()
	add := []any{"ZADD", b.queue, score, placeOf(id)}
	for _, d := range alive {
		add = append(add, -(b.nowMS() + d.Milliseconds()), "live "+id)
	}
	b.do(add...)
	b.do("PEXPIRE", b.queue, keepMS)
}

// enqueueDead writes n places of waiters that are gone.
func (b *bed) enqueueDead(n int) {
	b.t.Helper()
	for from := 0; from < n; from += 1000 {
		add := []any{"ZADD", b.queue}
		for i := from; i < min(from+1000, n); i++ {
			id := "dead" + strconv.Itoa(i)
			add = append(add, i+1, placeOf(id))
			if i%2 == 0 {
				add = append(add, -(b.nowMS() - 1), "live "+id)
			}
		}
		b.do(add...)
	}
	b.do("PEXPIRE", b.queue, keepMS)
}

// dump is everything that is stored, without TTLs.
func (b *bed) dump() string {
	b.t.Helper()
	ctx := b.t.Context()
	names, err := b.rdb.Keys(ctx, "*").Result()
	if err != nil {
		b.t.Fatal(err)
	}
	slices.Sort(names)
	var out strings.Builder
	for _, name := range names {
		switch kind := b.rdb.Type(ctx, name).Val(); kind {
		case "string":
			fmt.Fprintf(&out, "%s = %q\n", name, b.get(name))
		case "zset":
			fmt.Fprintf(&out, "%s = %v\n", name, b.rdb.ZRangeWithScores(ctx, name, 0, -1).Val())
		case "list":
			fmt.Fprintf(&out, "%s = %q\n", name, b.rdb.LRange(ctx, name, 0, -1).Val())
		default:
			fmt.Fprintf(&out, "%s is a %s\n", name, kind)
		}
	}
	return out.String()
}

// unchanged wants that f changes nothing that is stored.
func (b *bed) unchanged(what string, f func()) {
	b.t.Helper()
	before := b.dump()
	f()
	if after := b.dump(); after != before {
		b.t.Fatalf("%s changed\n%s\ninto\n%s", what, before, after)
	}
}

// ears hear the wake-ups of some waiters.
type ears struct {
	b  *bed
	ps *redis.PubSub
}

const endOfWakeUps = "end of the wake-ups"

func (b *bed) listen(ids ...string) *ears {
	b.t.Helper()
	channels := []string{endOfWakeUps}
	for _, id := range ids {
		channels = append(channels, "inbox-"+id)
	}
	ps := b.rdb.Subscribe(b.t.Context(), channels...)
	b.t.Cleanup(func() { _ = ps.Close() })
	for range channels {
		if _, err := ps.Receive(b.t.Context()); err != nil {
			b.t.Fatal(err)
		}
	}
	return &ears{b, ps}
}

// messages are all so far: one subscriber gets them in the order in which they
// were published.
func (e *ears) messages() []message {
	b := e.b
	b.t.Helper()
	b.do("PUBLISH", endOfWakeUps, "")
	ctx, cancel := context.WithTimeout(b.t.Context(), 10*time.Second)
	defer cancel()
	var all []message
	for {
		m, err := e.ps.ReceiveMessage(ctx)
		if err != nil {
			b.t.Fatal(err)
		}
		if m.Channel == endOfWakeUps {
			return all
		}
		all = append(all, message{m.Channel, m.Payload})
	}
}

type message struct{ channel, text string }

// heard is every wake-up so far, each of which went to its waiter's inbox.
func (e *ears) heard() []lua.WakeUp {
	b := e.b
	b.t.Helper()
	var all []lua.WakeUp
	for _, m := range e.messages() {
		w, ok := lua.ParseWakeUp(m.text)
		if !ok || m.channel != "inbox-"+w.ID {
			b.t.Fatalf("%q on %q is no wake-up", m.text, m.channel)
		}
		all = append(all, w)
	}
	return all
}

func (e *ears) want(wakeUps ...lua.WakeUp) {
	e.b.t.Helper()
	if got := e.heard(); !slices.Equal(got, wakeUps) {
		e.b.t.Fatalf("wake-ups %+v, want %+v", got, wakeUps)
	}
}

func TestAcquireOfAFreeLock(t *testing.T) {
	for _, mode := range []string{"lock", "try"} {
		t.Run(mode, func(t *testing.T) {
			backends(t, func(t *testing.T, b *bed) {
				before := b.nowMS()
				token := b.mine("a", mode)
				if after := b.nowMS(); token/1000 < before || token/1000 > after {
					t.Errorf("token %d, not the clock between %d and %d ms", token, before, after)
				}
				want := fmt.Sprintf("a %d %s", token, requestOf("a"))
				if got := b.get(b.lock); got != want {
					t.Errorf("the lock is %q, want %q", got, want)
				}
				if got := b.get(b.last); got != strconv.FormatInt(token, 10) {
					t.Errorf("the last token is %q, want %d", got, token)
				}
				b.fresh(b.lock, leaseMS)
				b.fresh(b.last, lastMS)
				if b.exists(b.queue) {
					t.Error("a lock that nobody waits for has a queue")
				}
			})
		})
	}
}

func TestTokensGrow(t *testing.T) {
	backends(t, func(t *testing.T, b *bed) {
		// Ahead of the clock by a day, as after a step back.
		last := (b.nowMS() + 24*3600*1000) * 1000
		b.do("SET", b.last, last)
		want := func(got int64) {
			t.Helper()
			last++
			if got != last {
				t.Fatalf("token %d, want %d", got, last)
			}
			if stored := b.get(b.last); stored != strconv.FormatInt(last, 10) {
				t.Fatalf("the last token is %q, want %d", stored, last)
			}
			b.fresh(b.last, lastMS)
			b.do("PEXPIRE", b.last, 1000) // each grant must set it anew
		}
		want(b.mine("fast", "lock"))
		b.busy("granted", "lock")
		b.leave(2, "left", graveMS) // a tombstone: the slow path from now on
		hear := b.listen("granted", "pumped", "polled")
		b.release(1, "fast")
		want(hear.heard()[0].Token)
		b.release(1, "granted")
		want(b.mine("slow", "lock"))
		b.release(1, "slow")
		want(b.mine("slow-try", "try"))
		b.release(1, "slow-try")
		b.enqueue(1, "dead")
		want(b.mine("behind-the-dead", "try"))
		b.busy("pumped", "lock")
		b.do("DEL", b.lock)
		b.pump(0)
		want(hear.heard()[0].Token)
		b.busy("polled", "lock")
		b.do("DEL", b.lock)
		want(b.mine("polled", "poll"))

		// The hold itself knows its token: the last one may be gone.
		b.busy("next", "lock")
		b.do("DEL", b.last)
		b.release(1, "polled")
		want(b.mine("next", "poll"))

		// Whatever the clock was when these were given: without the token that
		// is behind it, the clock rules again, and that is documented.
		b.release(1, "next")
		b.do("DEL", b.last)
		if token := b.mine("clock", "lock"); token >= last {
			t.Fatalf("token %d, not the clock", token)
		}
	})
}

func TestTokensOfAFastLoopAreStrictlyGreater(t *testing.T) {
	backends(t, func(t *testing.T, b *bed) {
		var last int64
		for i := range 300 {
			id := strconv.Itoa(i)
			token := b.mine(id, []string{"lock", "try"}[i%2])
			if token <= last {
				t.Fatalf("token %d after %d", token, last)
			}
			last = token
			b.release(1, id)
			if i == 150 {
				b.leave(0, "left", graveMS) // the slow path from now on
			}
		}
	})
}

func TestAcquireTwice(t *testing.T) {
	for _, mode := range []string{"lock", "try", "poll"} {
		t.Run(mode, func(t *testing.T) {
			backends(t, func(t *testing.T, b *bed) {
				token := b.mine("a", "lock")
				b.busy("b", "lock")
				b.do("PEXPIRE", b.lock, 1000)
				b.unchanged("the holder's second acquire", func() {
					if again := b.mine("a", mode); again != token {
						t.Errorf("token %d, then %d", token, again)
					}
				})
				b.fresh(b.lock, leaseMS)
			})
		})
	}
}

func TestEnqueueTwiceTakesOnePlace(t *testing.T) {
	backends(t, func(t *testing.T, b *bed) {
		token := b.mine("a", "lock")
		b.busy("b", "lock")
		first := b.busy("c", "lock")
		b.busy("d", "lock")
		for range 3 {
			again := b.busy("c", "lock")
			if again.Ahead != first.Ahead || again.Places != 3 || again.Token != token {
				t.Fatalf("%+v, then %+v", first, again)
			}
			b.wantPlaces("b", "c", "d")
			if n := len(b.members()); n != 6 {
				t.Fatalf("%d members", n)
			}
		}
	})
}

func TestBusyReply(t *testing.T) {
	backends(t, func(t *testing.T, b *bed) {
		token := b.mine("a", "lock")
		b.do("PEXPIRE", b.lock, 20000)
		want := lua.Acquired{Status: lua.Busy, Token: token, Holder: "the holder a"}
		check := func(a lua.Acquired, ahead, places int) {
			t.Helper()
			if a.Remaining <= 15*time.Second || a.Remaining > 20*time.Second {
				t.Fatalf("remaining %v", a.Remaining)
			}
			a.Remaining = 0
			want.Ahead, want.Places = ahead, places
			if a != want {
				t.Fatalf("%+v, want %+v", a, want)
			}
		}
		check(b.busy("try", "try"), 0, 0)
		check(b.busy("b", "lock"), 0, 1)
		check(b.busy("c", "lock"), 1, 2)
		check(b.busy("d", "lock"), 2, 3)
		check(b.busy("c", "poll"), 1, 3)
		check(b.busy("b", "poll"), 0, 3)
		check(b.busy("try", "try"), 3, 3)
		b.wantPlaces("b", "c", "d")
	})
}

// The reply tells what is left after the grant that the call itself made.
func TestBusyReplyAfterAGrant(t *testing.T) {
	backends(t, func(t *testing.T, b *bed) {
		b.enqueue(1, "dead", -time.Hour)
		b.enqueue(2, "live", time.Hour)
		b.enqueue(3, "next", time.Hour)
		if a := b.busy("new", "lock"); a.Ahead != 1 || a.Places != 2 || a.Holder != "the holder live" {
			t.Fatalf("reply %+v", a)
		}
		b.do("DEL", b.lock)
		if a := b.busy("new", "poll"); a.Ahead != 0 || a.Places != 1 || a.Holder != "the holder next" {
			t.Fatalf("reply %+v", a)
		}
		b.enqueue(int(b.nowMS()*2000), "last", time.Hour)
		b.do("DEL", b.lock)
		if a := b.busy("other", "try"); a.Ahead != 1 || a.Places != 1 || a.Holder != "the holder new" {
			t.Fatalf("reply %+v", a)
		}
	})
}

func TestTryTakesNoPlaceAndGoesBehindTheQueue(t *testing.T) {
	backends(t, func(_ *testing.T, b *bed) {
		b.mine("a", "lock")
		b.unchanged("a try", func() { b.busy("try", "try") })
		b.busy("b", "lock")
		b.unchanged("a try", func() { b.busy("try", "try") })
		b.do("DEL", b.lock) // its time is over
		hear := b.listen("b", "try")
		a := b.busy("try", "try") // nobody barges: the place is served first
		hear.want(lua.WakeUp{ID: "b", Token: a.Token})
		b.wantPlaces()
		if b.holder() != "b" || a.Holder != "the holder b" || a.Free {
			b.t.Fatalf("held by %q, reply %+v", b.holder(), a)
		}
	})
}

func TestPoll(t *testing.T) {
	backends(t, func(t *testing.T, b *bed) {
		b.gone("nobody", "poll")
		if b.dump() != "" {
			t.Fatalf("a poll for nobody left %s", b.dump())
		}
		b.mine("a", "lock")
		b.unchanged("a poll without a place", func() { b.gone("nobody", "poll") })

		// A waiter: its poll says that it is alive.
		b.busy("b", "lock")
		before := b.mark("live b")
		b.do("ZADD", b.queue, -1, "live b")
		b.do("PEXPIRE", b.queue, 1000)
		b.busy("b", "poll")
		if got := b.mark("live b"); got < before || got > b.nowMS()+aliveMS {
			t.Fatalf("alive until %d, want at least %d", got, before)
		}
		b.fresh(b.queue, keepMS)

		// Granted: the poll's own call starts the lease.
		hear := b.listen("b")
		b.release(1, "a")
		b.do("PEXPIRE", b.lock, 1000)
		hear.want(lua.WakeUp{ID: "b", Token: b.mine("b", "poll")})
		b.fresh(b.lock, leaseMS)

		// Released: a poll that was under way finds nothing to do.
		b.release(1, "b")
		b.unchanged("a late poll", func() { b.gone("b", "poll") })
	})
}

func TestPollOfAFreeLock(t *testing.T) {
	backends(t, func(t *testing.T, b *bed) {
		b.mine("a", "lock")
		for _, id := range []string{"b", "c", "d"} {
			b.busy(id, "lock")
		}
		hear := b.listen("b", "c", "d")
		b.do("DEL", b.lock) // its time is over
		a := b.busy("d", "poll")
		if a.Holder != "the holder b" || a.Free || a.Remaining <= 0 {
			t.Fatalf("reply %+v", a)
		}
		hear.want(lua.WakeUp{ID: "b", Token: a.Token})
		b.wantPlaces("c", "d")
		b.do("DEL", b.lock)
		b.mine("c", "poll") // it is the head, so it needs no wake-up
		hear.want()
		b.do("DEL", b.lock)
		b.gone("b", "poll") // lost its place, but finds room for the head
		if b.holder() != "d" {
			t.Fatalf("held by %q", b.holder())
		}
		if got := hear.heard(); len(got) != 1 || got[0].ID != "d" {
			t.Fatalf("wake-ups %+v", got)
		}
		if b.exists(b.queue) {
			t.Fatalf("a queue is left: %s", b.dump())
		}
	})
}

func TestReleaseReplies(t *testing.T) {
	backends(t, func(t *testing.T, b *bed) {
		b.release(0, "a")
		if b.dump() != "" {
			t.Fatalf("a release of nothing left %s", b.dump())
		}
		b.mine("a", "lock")
		b.unchanged("a stranger's release", func() { b.release(2, "b") })
		b.release(1, "a")
		b.unchanged("the second release", func() { b.release(0, "a") })
		if b.exists(b.lock) || b.exists(b.queue) {
			t.Fatalf("left: %s", b.dump())
		}

		// Of an id that begins like the holder's.
		b.mine("ab", "lock")
		b.release(2, "a")
		b.release(1, "ab")
	})
}

func TestReleaseHandsOver(t *testing.T) {
	backends(t, func(t *testing.T, b *bed) {
		before := b.mine("a", "lock")
		b.busy("b", "lock")
		b.busy("c", "lock")
		hear := b.listen("b", "c")
		b.release(1, "a")
		heard := hear.heard()
		if len(heard) != 1 || heard[0].ID != "b" || heard[0].More || heard[0].Token <= before {
			t.Fatalf("wake-ups %+v", heard)
		}
		want := fmt.Sprintf("b %d %s", heard[0].Token, requestOf("b"))
		if got := b.get(b.lock); got != want {
			t.Fatalf("the lock is %q, want %q", got, want)
		}
		b.fresh(b.lock, leaseMS)
		b.wantPlaces("c")
		if b.mark("live b") != 0 {
			t.Fatal("the mark of the granted waiter is left")
		}
		b.unchanged("the second release", func() { b.release(2, "a") })
		hear.want()
	})
}

// A grant lasts as long as its waiter asked, not as the releaser or a poll says.
func TestGrantUsesTheWaitersLease(t *testing.T) {
	backends(t, func(_ *testing.T, b *bed) {
		b.mine("a", "lock")
		b.run(lua.MutexAcquire, b.keys, "b", "7000 inbox-b x", 7000, "lock", aliveMS)
		b.release(1, "a")
		b.fresh(b.lock, 7000)
		if got := b.pttl(b.lock); got < 5000 {
			b.t.Fatalf("PTTL %d", got)
		}
	})
}

func TestLeave(t *testing.T) {
	backends(t, func(t *testing.T, b *bed) {
		b.mine("a", "lock")
		for _, id := range []string{"first", "b", "c", "d"} {
			b.busy(id, "lock")
		}
		hear := b.listen("first", "b", "c", "d")
		b.leave(2, "first", 0)
		hear.want(lua.WakeUp{ID: "b"}) // it is next now, and must know for how long to wait
		b.unchanged("the second leave", func() { b.leave(2, "first", 0) })
		b.leave(2, "c", 0) // from the middle
		b.wantPlaces("b", "d")
		b.unchanged("the second leave", func() { b.leave(2, "c", 0) })
		b.gone("c", "poll")
		hear.want()

		// Of one that was granted just then: the grant passes on.
		b.release(1, "a")
		b.leave(1, "b", 0)
		heard := hear.heard()
		if len(heard) != 2 || heard[0].ID != "b" || heard[1].ID != "d" || heard[1].Token <= heard[0].Token {
			t.Fatalf("wake-ups %+v", heard)
		}
		if b.holder() != "d" {
			t.Fatalf("held by %q", b.holder())
		}
		b.unchanged("the second leave", func() { b.leave(2, "b", 0) })
		b.leave(1, "d", 0)
		if b.exists(b.lock) || b.exists(b.queue) {
			t.Fatalf("left: %s", b.dump())
		}
	})
}

// Who leaves a lock whose holder's time is over hands it on, and never to itself.
func TestLeaveOfAFreeLock(t *testing.T) {
	backends(t, func(t *testing.T, b *bed) {
		b.mine("a", "lock")
		b.busy("b", "lock")
		b.busy("c", "lock")
		b.do("DEL", b.lock)
		hear := b.listen("b", "c")
		b.leave(0, "b", 0)
		if heard := hear.heard(); len(heard) != 1 || heard[0].ID != "c" || b.holder() != "c" {
			t.Fatalf("wake-ups %+v, held by %q", heard, b.holder())
		}
	})
}

func TestTombstone(t *testing.T) {
	backends(t, func(t *testing.T, b *bed) {
		// Left before its first acquire arrived, of a free lock: the mark keeps
		// the fast path away from it too.
		b.leave(0, "a", graveMS)
		b.fresh(b.queue, graveMS)
		if got, now := b.mark("gone a"), b.nowMS(); got > now+graveMS || got < now+graveMS-5000 {
			t.Fatalf("the tombstone is until %d", got)
		}
		for _, mode := range []string{"lock", "try", "poll"} {
			b.unchanged("a late "+mode, func() { b.gone("a", mode) })
		}
		b.leave(0, "a", graveMS)
		if n := len(b.members()); n != 1 {
			t.Fatalf("%d members after a second leave", n)
		}

		// Others are not bothered, on the slow path in each mode.
		b.mine("try", "try")
		b.release(1, "try")
		b.mine("b", "lock")
		for _, mode := range []string{"lock", "try"} {
			b.unchanged("a late "+mode+" of a held lock", func() { b.gone("a", mode) })
		}

		// Left while it waits: a late copy of its acquire does not wait again.
		b.busy("c", "lock")
		b.leave(2, "c", graveMS)
		b.unchanged("a late acquire", func() { b.gone("c", "lock") })
		b.wantPlaces()

		// Left when it had been granted.
		b.busy("d", "lock")
		b.release(1, "b")
		b.leave(1, "d", graveMS)
		for _, mode := range []string{"lock", "try", "poll"} {
			b.unchanged("a late "+mode, func() { b.gone("d", mode) })
		}
		if b.exists(b.lock) {
			t.Fatalf("held by %q", b.holder())
		}
	})
}

// A late acquire that finds its tombstone finds room for the head all the same.
func TestLateAcquireServesTheQueue(t *testing.T) {
	backends(t, func(t *testing.T, b *bed) {
		b.mine("a", "lock")
		b.busy("b", "lock")
		b.leave(2, "late", graveMS)
		b.do("DEL", b.lock)
		hear := b.listen("b")
		b.gone("late", "lock")
		if heard := hear.heard(); len(heard) != 1 || heard[0].ID != "b" || b.holder() != "b" {
			t.Fatalf("wake-ups %+v, held by %q", heard, b.holder())
		}
	})
}

// The last waiter takes the queue with it, and the tombstone makes a new one.
func TestTombstoneOfTheLastWaiterEnds(t *testing.T) {
	backends(t, func(_ *testing.T, b *bed) {
		b.mine("a", "lock")
		b.busy("b", "lock")
		b.do("PEXPIRE", b.queue, graveMS) // another waiter, left by now, was alive for longer
		b.leave(2, "b", graveMS-20000)
		b.fresh(b.queue, graveMS)
	})
}

func TestPlainReleaseLeavesNoTombstone(t *testing.T) {
	backends(t, func(t *testing.T, b *bed) {
		b.mine("a", "lock")
		b.busy("b", "lock")
		b.busy("c", "lock")
		b.leave(2, "c", 0)
		b.release(1, "a")
		b.release(1, "b")
		if b.exists(b.queue) {
			t.Fatalf("left: %s", b.dump())
		}
	})
}

// Tombstones and marks that are over go when somebody enqueues, one time in 64
// by the clock, and with each new tombstone, a bounded number of them.
func TestTombstonesAreSwept(t *testing.T) {
	for name, sweep := range map[string]func(b *bed, id string){
		"enqueue": func(b *bed, id string) { b.busy(id, "lock"); b.leave(2, id, 0) },
		"leave":   func(b *bed, id string) { b.leave(2, id, graveMS) },
	} {
		t.Run(name, func(t *testing.T) {
			backends(t, func(t *testing.T, b *bed) {
				b.mine("a", "lock")
				now := b.nowMS()
				b.do("ZADD", b.queue, -(now - 1000), "gone old", -now, "live forgotten", -(now + 60000), "gone new", -(now + 60000), "live b")
				for i := range 300 {
					b.do("ZADD", b.queue, -(now - 2000), "gone old"+strconv.Itoa(i))
				}
				b.do("PEXPIRE", b.queue, keepMS)
				marks := func() int {
					t.Helper()
					n, err := b.rdb.ZCount(t.Context(), b.queue, strconv.FormatInt(-now, 10), "(0").Result()
					if err != nil {
						t.Fatal(err)
					}
					return int(n)
				}
				for i, before := 0, marks(); before > 0; i++ {
					if i == 5000 {
						t.Fatal("never swept")
					}
					sweep(b, strconv.Itoa(i))
					after := marks()
					if before-after > bound {
						t.Fatalf("one script removed %d marks", before-after)
					}
					before = after
				}
				if b.mark("gone new") == 0 || b.mark("live b") == 0 {
					t.Error("a mark that counts was swept")
				}
			})
		})
	}
}

func TestOrderOfArrival(t *testing.T) {
	backends(t, func(_ *testing.T, b *bed) {
		b.mine("a", "lock")
		// The clock has stepped back by a day since this one came.
		b.enqueue(int((b.nowMS()+24*3600*1000)*1000), "b", time.Hour)
		want := []string{"b"}
		for i := range 20 {
			id := "w" + strconv.Itoa(i)
			if a := b.busy(id, "lock"); a.Ahead != i+1 {
				b.t.Fatalf("%d places before %s", a.Ahead, id)
			}
			want = append(want, id)
		}
		b.wantPlaces(want...)
		holder := "a"
		for _, next := range want {
			b.release(1, holder)
			if holder = b.holder(); holder != next {
				b.t.Fatalf("granted %s, want %s", holder, next)
			}
		}
	})
}

func TestRenew(t *testing.T) {
	backends(t, func(t *testing.T, b *bed) {
		b.renew(0, "a", leaseMS)
		if b.dump() != "" {
			t.Fatalf("a renewal created %s", b.dump())
		}
		b.mine("a", "lock")
		b.do("PEXPIRE", b.lock, 1000)
		b.unchanged("a renewal", func() { b.renew(1, "a", leaseMS) })
		b.fresh(b.lock, leaseMS)
		b.do("PEXPIRE", b.lock, 5000)
		b.unchanged("a stranger's renewal", func() { b.renew(2, "b", 900000) })
		b.unchanged("the renewal of a shorter id", func() { b.renew(2, "", 900000) })
		b.fresh(b.lock, 5000)
		b.release(1, "a")
		b.unchanged("a late renewal", func() { b.renew(0, "a", leaseMS) })
		b.mine("b", "lock")
		b.do("PEXPIRE", b.lock, 5000)
		b.renew(2, "a", 900000)
		b.fresh(b.lock, 5000)
	})
}

func TestDrop(t *testing.T) {
	backends(t, func(t *testing.T, b *bed) {
		b.drop(0, "a")
		b.mine("a", "lock")
		b.busy("b", "lock")
		hear := b.listen("b")
		b.unchanged("a stranger's drop", func() { b.drop(2, "b") })
		b.drop(1, "a")
		b.unchanged("the second drop", func() { b.drop(0, "a") })
		hear.want()
		b.wantPlaces("b")
		b.mine("b", "poll") // it finds the lock free
		if b.dump() == "" {
			t.Fatal("the poll took nothing")
		}
	})
}

func TestPump(t *testing.T) {
	backends(t, func(t *testing.T, b *bed) {
		b.pump(0)
		if b.dump() != "" {
			t.Fatalf("a pump of nothing left %s", b.dump())
		}
		b.mine("a", "lock")
		b.busy("b", "lock")
		b.unchanged("a pump of a held lock", func() { b.pump(0) })
		b.do("DEL", b.lock)
		hear := b.listen("b")
		b.pump(0)
		if heard := hear.heard(); len(heard) != 1 || heard[0].ID != "b" || b.holder() != "b" {
			t.Fatalf("wake-ups %+v, held by %q", heard, b.holder())
		}
		b.unchanged("the second pump", func() { b.pump(0) })
		hear.want()
	})
}

func TestMinimumHold(t *testing.T) {
	const rest = 5000
	backends(t, func(t *testing.T, b *bed) {
		token := b.mine("a", "lock")
		b.busy("b", "lock")
		b.busy("c", "lock")
		hear := b.listen("b", "c")
		b.expect(1, b.releaseCall("a", "", 0, rest))
		hear.want(lua.WakeUp{ID: "b"}) // nothing is granted: look again
		b.fresh(b.lock, rest)
		b.wantPlaces("b", "c")

		b.unchanged("a renewal of what is released", func() { b.renew(2, "a", leaseMS) })
		b.unchanged("a second release", func() { b.release(2, "a") })
		b.unchanged("a second release with rest", func() { b.expect(2, b.releaseCall("a", "", 0, leaseMS)) })
		b.unchanged("a drop", func() { b.drop(2, "a") })
		b.unchanged("a pump", func() { b.pump(0) })
		b.fresh(b.lock, rest)
		hear.want()

		a := b.busy("b", "poll")
		if a.Foreign || a.Free || a.Endless || a.Token != token || a.Remaining <= 0 || a.Remaining > rest*time.Millisecond {
			t.Fatalf("reply %+v", a)
		}
		if a := b.busy("try", "try"); a.Places != 2 {
			t.Fatalf("reply %+v", a)
		}
		b.gone("a", "poll") // it holds nothing

		b.do("PEXPIRE", b.lock, 1)
		for b.exists(b.lock) {
			time.Sleep(time.Millisecond)
		}
		if next := b.mine("b", "poll"); next <= token {
			t.Fatalf("token %d after %d", next, token)
		}
	})
}

func TestMinimumHoldWithoutWaiters(t *testing.T) {
	backends(t, func(t *testing.T, b *bed) {
		token := b.mine("a", "lock")
		b.expect(1, b.releaseCall("a", "", 0, 5000))
		b.fresh(b.lock, 5000)
		if b.exists(b.queue) {
			t.Fatal("a queue was made")
		}
		if a := b.busy("b", "lock"); a.Foreign || a.Token != token {
			t.Fatalf("reply %+v", a)
		}
	})
}

func TestGrantSkipsTheDead(t *testing.T) {
	serve := map[string]func(b *bed){
		"release": func(b *bed) { b.mine("a", "poll"); b.release(1, "a") },
		"pump":    func(b *bed) { b.do("DEL", b.lock); b.pump(0) },
		"poll":    func(b *bed) { b.do("DEL", b.lock); b.busy("behind", "poll") },
		"try":     func(b *bed) { b.do("DEL", b.lock); b.busy("other", "try") },
		"leave":   func(b *bed) { b.do("DEL", b.lock); b.leave(0, "other", 0) },
	}
	for name, serve := range serve {
		t.Run(name, func(t *testing.T) {
			backends(t, func(t *testing.T, b *bed) {
				b.mine("a", "lock")
				b.enqueue(1, "unmarked")
				b.enqueue(2, "past", -time.Millisecond)
				b.enqueue(3, "long-past", -time.Hour)
				b.enqueue(4, "live", time.Hour)
				b.enqueue(5, "dead-behind", -time.Hour)
				b.enqueue(6, "behind", time.Hour)
				hear := b.listen("unmarked", "past", "long-past", "live", "dead-behind", "behind")
				serve(b)
				if heard := hear.heard(); len(heard) != 1 || heard[0].ID != "live" || heard[0].Token == 0 {
					t.Fatalf("wake-ups %+v", heard)
				}
				if b.holder() != "live" {
					t.Fatalf("held by %q", b.holder())
				}
				var left []string
				for _, z := range b.members() {
					left = append(left, fmt.Sprint(z.Member))
				}
				slices.Sort(left)
				want := []string{placeOf("behind"), placeOf("dead-behind"), "live behind", "live dead-behind"}
				if slices.Sort(want); !slices.Equal(left, want) {
					t.Fatalf("the queue holds %q, want %q", left, want)
				}
			})
		})
	}
}

// A waiter that was skipped hears so, and does not come back by a poll.
func TestSkippedWaiterHasNoPlace(t *testing.T) {
	backends(t, func(_ *testing.T, b *bed) {
		b.mine("a", "lock")
		b.busy("b", "lock")
		b.do("ZADD", b.queue, -1, "live b")
		b.release(1, "a")
		b.unchanged("the poll of a skipped waiter", func() { b.gone("b", "poll") })
	})
}

func TestBoundOfOneScript(t *testing.T) {
	for _, c := range []struct {
		dead int
		more int64
	}{{1, 0}, {2, 0}, {bound - 1, 0}, {bound, 4}, {bound + 1, 4}} {
		t.Run(strconv.Itoa(c.dead), func(t *testing.T) {
			backends(t, func(_ *testing.T, b *bed) {
				b.enqueueDead(c.dead)
				b.do("SET", b.lock, "a 1 30000 inbox-a x", "PX", leaseMS)
				b.release(1+c.more, "a")
				if left := len(b.places()); left != max(0, c.dead-bound) {
					b.t.Fatalf("%d places left", left)
				}
				if c.more != 0 {
					b.pump(0)
				}
				if b.exists(b.queue) || b.exists(b.lock) {
					b.t.Fatalf("left: %s", b.dump())
				}
			})
		})
	}
}

// The last place that a script may look at can still be granted; the one
// behind it is left to the pump.
func TestBoundWithALiveWaiter(t *testing.T) {
	backends(t, func(_ *testing.T, b *bed) {
		hear := b.listen("live")
		for _, c := range []struct {
			dead  int
			first int64
		}{{bound - 1, 1}, {bound, 5}} {
			b.do("SET", b.lock, "a 1 30000 inbox-a x", "PX", leaseMS)
			b.enqueueDead(c.dead)
			b.enqueue(c.dead+1, "live", time.Hour)
			b.release(c.first, "a")
			if c.first == 5 {
				if b.exists(b.lock) {
					b.t.Fatalf("held by %q", b.holder())
				}
				hear.want(lua.WakeUp{ID: "live", More: true}) // to look again, if nobody pumps
				b.pump(0)
			}
			if heard := hear.heard(); len(heard) != 1 || heard[0].ID != "live" || b.holder() != "live" {
				b.t.Fatalf("%d dead: wake-ups %+v, held by %q", c.dead, heard, b.holder())
			}
			b.release(1, "live")
		}
	})
}

func TestTryBehindTheDead(t *testing.T) {
	backends(t, func(_ *testing.T, b *bed) {
		b.enqueueDead(bound - 1)
		b.mine("a", "try")
		b.release(1, "a")
		b.enqueueDead(bound + 1)
		if a := b.busy("b", "try"); !a.More || !a.Free || a.Remaining != 0 {
			b.t.Fatalf("reply %+v, want more to look at", a)
		}
		b.pump(0)
		b.mine("b", "try")
	})
}

func TestLockBehindTheDead(t *testing.T) {
	backends(t, func(_ *testing.T, b *bed) {
		b.enqueueDead(bound - 1)
		b.mine("a", "lock")
		b.release(1, "a")
		b.enqueueDead(bound)
		a := b.busy("b", "lock")
		if !a.More || !a.Free || a.Foreign {
			b.t.Fatalf("reply %+v, want more to look at", a)
		}
		b.wantPlaces("b")
		hear := b.listen("b")
		b.pump(0)
		if heard := hear.heard(); len(heard) != 1 || heard[0].ID != "b" {
			b.t.Fatalf("wake-ups %+v", heard)
		}
	})
}

func TestTenThousandDead(t *testing.T) {
	backends(t, func(t *testing.T, b *bed) {
		dead := 10000
		if b.embedded {
			dead = 1000 // miniredis sorts the queue for each look at it
		}
		b.mine("a", "lock")
		b.enqueueDead(dead)
		b.enqueue(dead+1, "live", time.Hour)
		hear := b.listen("live")
		b.release(1+4, "a")
		for left := dead - bound; left >= bound; left -= bound {
			if n, err := b.rdb.ZCount(t.Context(), b.queue, "1", "+inf").Result(); err != nil || n != int64(left+1) {
				t.Fatalf("%d places, %v, want %d", n, err, left+1)
			}
			b.pump(4)
		}
		hear.want()
		b.pump(0)
		if heard := hear.heard(); len(heard) != 1 || heard[0].ID != "live" || b.holder() != "live" {
			t.Fatalf("wake-ups %+v, held by %q", heard, b.holder())
		}
		if b.exists(b.queue) {
			t.Fatalf("%d members are left", len(b.members()))
		}
	})
}

// The queue lives at least as long as anything in it counts.
func TestQueueOutlivesItsMarks(t *testing.T) {
	backends(t, func(t *testing.T, b *bed) {
		check := func(want int) {
			t.Helper()
			b.fresh(b.queue, want)
			end := int64(b.pttl(b.queue))
			end += b.nowMS() // in that order: what passes in between makes it later
			if b.embedded {
				end += 2000 // time passes between its commands only, so a slow script is taken off the TTL
			}
			for _, z := range b.members() {
				if z.Score < 0 && int64(-z.Score) > end+2 { // TTLs are rounded
					t.Fatalf("%s counts until %d, the queue ends at %d", z.Member, int64(-z.Score), end)
				}
			}
		}
		wait := func(id, mode string, alive int) {
			t.Helper()
			b.run(lua.MutexAcquire, b.keys, id, requestOf(id), leaseMS, mode, alive)
		}
		b.mine("a", "lock")
		wait("short", "lock", 100)
		check(100 + 60000)
		wait("long", "lock", 200000)
		check(200000 + 60000)
		wait("third", "lock", 100) // does not shorten it
		check(200000 + 60000)
		wait("short", "poll", 100)
		check(200000 + 60000)
		wait("short", "poll", 400000)
		check(400000 + 60000)
		b.leave(2, "left", 800000)
		check(800000)
		b.leave(2, "left too", 1000)
		check(800000)
		b.release(1, "a")
		check(800000)
		wait("fourth", "lock", 100)
		check(800000)
	})
}

func TestForeignHolder(t *testing.T) {
	for name, value := range map[string]string{
		"uuid":         "0d6b1a3e-5f6f-4a52-9f0e-8d3f8a1a2b3c",
		"empty":        "",
		"words":        "some other library",
		"almost ours":  "id 12 34 inbox",
		"no number":    "id token 30000 inbox holder",
		"binary":       "\x00\xff\n",
		"begins alike": "b",
	} {
		t.Run(name, func(t *testing.T) {
			backends(t, func(t *testing.T, b *bed) {
				b.do("SET", b.lock, value)
				a := b.busy("b", "lock")
				if a != (lua.Acquired{Status: lua.Busy, Endless: true, Foreign: true, Places: 1}) {
					t.Fatalf("reply %+v", a)
				}
				b.do("PEXPIRE", b.lock, 20000)
				a = b.busy("b", "poll")
				if !a.Foreign || a.Endless || a.Remaining <= 15*time.Second || a.Holder != "" {
					t.Fatalf("reply %+v", a)
				}
				if a := b.busy("try", "try"); !a.Foreign || a.Ahead != 1 {
					t.Fatalf("reply %+v", a)
				}
				b.unchanged("what is not ours", func() {
					b.renew(2, "b", leaseMS)
					b.drop(2, "b")
					b.release(2, "other")
					b.pump(0)
				})
				// Such a library releases by DEL, and tells nobody.
				b.do("DEL", b.lock)
				b.mine("b", "poll")
			})
		})
	}
}

// A token of an earlier hold is told by a reply whose holder has none.
func TestForeignHolderAfterOurs(t *testing.T) {
	backends(t, func(t *testing.T, b *bed) {
		token := b.mine("a", "lock")
		b.release(1, "a")
		b.do("SET", b.lock, "other", "PX", leaseMS)
		if a := b.busy("b", "lock"); a.Token != token || !a.Foreign {
			t.Fatalf("reply %+v, want token %d", a, token)
		}
	})
}

// Holder texts may hold anything.
func TestHolderTexts(t *testing.T) {
	backends(t, func(t *testing.T, b *bed) {
		for i, holder := range []string{"", "a b  c ", "\n", "ä", "%d %s", "\x00\xff", strings.Repeat("x", 4000)} {
			first, second := strconv.Itoa(2*i), strconv.Itoa(2*i+1)
			request := func(id string) string { return "30000 inbox-" + id + " " + holder }
			b.run(lua.MutexAcquire, b.keys, first, request(first), leaseMS, "lock", aliveMS)
			wait := b.run(lua.MutexAcquire, b.keys, second, request(second), leaseMS, "lock", aliveMS)
			if a, err := wait.Acquired(); err != nil || a.Holder != holder || a.Foreign {
				t.Fatalf("holder %q: %+v, %v", holder, a, err)
			}
			hear := b.listen(second)
			b.release(1, first)
			if heard := hear.heard(); len(heard) != 1 || heard[0].ID != second {
				t.Fatalf("holder %q: wake-ups %+v", holder, heard)
			}
			b.expect(1, b.releaseCall(second, request(second), 0, 0))
		}
	})
}

// A random run against the simplest model of a fair lock. The keys that it
// leaves must all end by themselves.
func TestRandomRun(t *testing.T) {
	backends(t, func(t *testing.T, b *bed) {
		seed := uint64(time.Now().UnixNano())
		t.Logf("seed %d", seed)
		m := newModel(b, rand.New(rand.NewPCG(seed, 0)))
		for range 600 {
			m.step()
		}
	})
}

// model knows what the lock must be. Nothing in it ends by time: leases and
// marks are longer than the test.
type model struct {
	b       *bed
	rand    *rand.Rand
	holder  string // "-" while a minimum hold rests
	queue   []string
	dead    map[string]bool // of those in the queue
	gone    map[string]bool // those with a tombstone
	token   int64
	next    int
	ids     []string // all that ever were
	history []string
}

func newModel(b *bed, r *rand.Rand) *model {
	return &model{b: b, rand: r, dead: map[string]bool{}, gone: map[string]bool{}}
}

func (m *model) step() {
	m.b.t.Helper()
	id := m.pick()
	what := []string{
		"lock", "lock", "lock", "try", "poll", "poll", "release", "release", "leave",
		"leave late", "rest", "renew", "drop", "pump", "expire", "die",
	}[m.rand.IntN(16)]
	m.history = append(m.history, what+" "+id)
	switch what {
	case "lock", "try", "poll":
		m.acquire(id, what)
	case "release":
		m.release(id, 0, 0)
	case "leave":
		m.release(id, 0, 0)
	case "leave late":
		m.release(id, []int{graveMS, keepMS - 1000}[m.rand.IntN(2)], 0)
	case "rest":
		m.release(id, 0, leaseMS)
	case "renew":
		m.b.renew(m.state(id), id, leaseMS)
	case "drop":
		m.b.drop(m.state(id), id)
		if id == m.holder {
			m.holder = ""
		}
	case "pump":
		m.b.pump(0)
		m.grant()
	case "expire":
		m.b.do("DEL", m.b.lock)
		m.holder = ""
	case "die":
		if slices.Contains(m.queue, id) {
			m.b.do("ZADD", m.b.queue, -1, "live "+id)
			m.dead[id] = true
		}
	}
	m.check()
}

// pick is a new id, or one of those that were there lately.
func (m *model) pick() string {
	if len(m.ids) == 0 || m.rand.IntN(3) == 0 {
		m.next++
		m.ids = append(m.ids, "c:"+strconv.Itoa(m.next))
	}
	recent := m.ids[max(0, len(m.ids)-10):]
	if m.holder != "" && m.holder != "-" && m.rand.IntN(4) == 0 {
		return m.holder
	}
	return recent[m.rand.IntN(len(recent))]
}

// state is what a script says of the lock to id, if it does not change it.
func (m *model) state(id string) int64 {
	switch m.holder {
	case "":
		return 0
	case id:
		return 1
	default:
		return 2
	}
}

func (m *model) grant() {
	for m.holder == "" && len(m.queue) > 0 {
		if id := m.queue[0]; !m.dead[id] {
			m.holder = id
		}
		m.remove(m.queue[0])
	}
}

func (m *model) remove(id string) {
	m.queue = slices.DeleteFunc(m.queue, func(other string) bool { return other == id })
	delete(m.dead, id)
}

func (m *model) acquire(id, mode string) {
	m.b.t.Helper()
	a := m.b.acquire(id, mode)
	want := lua.Busy
	switch waits := slices.Contains(m.queue, id); {
	case m.holder == id:
		want = lua.Yours
	case m.gone[id], mode == "poll" && !waits:
		want = lua.Gone
		m.grant()
	case mode == "try":
		m.grant()
		if m.holder == "" || m.holder == id {
			m.holder, want = id, lua.Yours
		}
	default:
		if !waits {
			m.queue = append(m.queue, id)
		}
		delete(m.dead, id) // a poll says that it is alive
		if m.grant(); m.holder == id {
			want = lua.Yours
		}
	}
	if a.Status != want {
		m.b.t.Fatalf("%s %s = %+v, want %d\n%s\n%s", mode, id, a, want, m.b.dump(), m.last())
	}
}

func (m *model) release(id string, grave, rest int) {
	m.b.t.Helper()
	want := m.state(id)
	m.b.expect(want, m.b.releaseCall(id, requestOf(id), grave, rest))
	m.remove(id)
	if grave > 0 {
		m.gone[id] = true
	}
	if want == 1 {
		m.holder = ""
		if rest > 0 {
			m.holder = "-"
		}
	}
	m.grant()
}

func (m *model) last() string {
	return strings.Join(m.history[max(0, len(m.history)-20):], "\n")
}

func (m *model) check() {
	b := m.b
	b.t.Helper()
	if got := b.holder(); got != m.holder {
		b.t.Fatalf("held by %q, want %q\n%s", got, m.holder, m.last())
	}
	var places []string
	gone := map[string]bool{}
	for _, z := range b.members() {
		member := fmt.Sprint(z.Member)
		if id, ok := strings.CutPrefix(member, "gone "); ok {
			gone[id] = true
		} else if z.Score > 0 {
			id, _, _ = strings.Cut(member, " ")
			places = append(places, id)
		}
	}
	if !slices.Equal(places, m.queue) {
		b.t.Fatalf("places %q, want %q\n%s", places, m.queue, m.last())
	}
	if !maps.Equal(gone, m.gone) {
		b.t.Fatalf("tombstones %v, want %v\n%s", gone, m.gone, m.last())
	}
	token, _ := strconv.ParseInt(b.get(b.last), 10, 64)
	if token < m.token {
		b.t.Fatalf("token %d after %d\n%s", token, m.token, m.last())
	}
	m.token = token
	names, err := b.rdb.Keys(b.t.Context(), "*").Result()
	if err != nil {
		b.t.Fatal(err)
	}
	for _, name := range names {
		if !slices.Contains(b.keys, any(name)) {
			b.t.Fatalf("a key %q that nobody declared\n%s", name, m.last())
		}
		if b.pttl(name) == -1 {
			b.t.Fatalf("%s has no end\n%s", name, m.last())
		}
	}
}

var scripts = []*lua.Script{
	lua.MutexAcquire, lua.MutexRelease, lua.MutexRenew, lua.MutexDrop, lua.MutexPump,
	lua.ReentrantAcquire, lua.ReentrantRelease, lua.ReentrantRenew, lua.ReentrantDrop, lua.ReentrantPump,
	lua.WeightedAcquire, lua.WeightedRelease, lua.WeightedRenew, lua.WeightedDrop, lua.WeightedPump, lua.WeightedDowngrade,
	lua.WeightedPolls,
	lua.MutexInspect, lua.ReentrantInspect, lua.WeightedInspect,
	lua.MutexEvict, lua.ReentrantEvict, lua.WeightedEvict,
}

// Each script says what it is called with, and is stored under its own name.
func TestScripts(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range scripts {
		if s.Name() == "" || seen[s.SHA()] || len(s.SHA()) != 40 {
			t.Errorf("%s: SHA %q", s.Name(), s.SHA())
		}
		seen[s.SHA()] = true
		for _, section := range []string{"KEYS", "ARGV", "Reply"} {
			if !strings.Contains(s.Source(), "\n-- "+section) {
				t.Errorf("%s does not say its %s", s.Name(), section)
			}
		}
		if strings.Contains(s.Source(), "-- include") || strings.HasPrefix(s.Source(), "#!") {
			t.Errorf("%s is not whole, or has a line that miniredis refuses", s.Name())
		}
	}
}

func TestSHAIsWhatRedisSays(t *testing.T) {
	rdb := testredis.Start(t).Client(t)
	for _, s := range scripts {
		if sha, err := rdb.ScriptLoad(t.Context(), s.Source()).Result(); err != nil || sha != s.SHA() {
			t.Errorf("SCRIPT LOAD %s = %q, %v; want %q", s.Name(), sha, err, s.SHA())
		}
	}
}

func TestCallIsNeverRepeatedByTheDriver(t *testing.T) {
	c := lua.NewCall(lua.MutexRenew, []any{"k"}, "id", 30000)
	if !c.NoRetry() {
		t.Error("the driver may send it again")
	}
	want := []any{"evalsha", lua.MutexRenew.SHA(), 1, "k", "id", 30000}
	if !reflect.DeepEqual(c.Args(), want) {
		t.Errorf("args %q, want %q", c.Args(), want)
	}
	if !reflect.DeepEqual(c.Keys(), []any{"k"}) {
		t.Errorf("keys %q", c.Keys())
	}
}
