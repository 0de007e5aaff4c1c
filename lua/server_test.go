package lua_test

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/internal/keys"
	"github.com/holdfast-go/holdfast/internal/testredis"
	"github.com/holdfast-go/holdfast/lua"
)

// Servers that say no: only a real one has memory limits, users, replicas and a
// script cache.

func realBed(t *testing.T) (*bed, *testredis.Server) {
	t.Helper()
	s := testredis.Start(t)
	return newBed(t, s.Client(t)), s
}

// refused wants that the call fails in that way, with that first word, and that
// it changes nothing.
func (b *bed) refused(c *lua.Call, word string, want lua.Failure) {
	b.t.Helper()
	b.unchanged("a refused call", func() {
		b.t.Helper()
		err := c.Do(b.t.Context(), b.rdb)
		if err == nil || !strings.HasPrefix(err.Error(), word+" ") {
			b.t.Fatalf("%q = %v, want %s", c.Args()[3:], err, word)
		}
		if got := lua.FailureOf(err); got != want {
			b.t.Fatalf("%v is %d, want %d", err, got, want)
		}
	})
}

func (b *bed) renewCall(id string) *lua.Call {
	return lua.NewCall(lua.MutexRenew, b.keys[:1], id, leaseMS)
}

func (b *bed) dropCall(id string) *lua.Call {
	return lua.NewCall(lua.MutexDrop, b.keys[:1], id)
}

func (b *bed) pumpCall() *lua.Call { return lua.NewCall(lua.MutexPump, b.keys) }

func (b *bed) outOfMemory() {
	b.t.Helper()
	b.do("CONFIG", "SET", "maxmemory", "1")
}

func (b *bed) enoughMemory() {
	b.t.Helper()
	b.do("CONFIG", "SET", "maxmemory", "0")
}

func TestOutOfMemoryRefusesAcquire(t *testing.T) {
	b, _ := realBed(t)
	b.outOfMemory()
	refuse := func(modes ...string) {
		t.Helper()
		for _, mode := range modes {
			b.refused(b.acquireCall("new", mode), "OOM", lua.Passing)
		}
	}
	refuse("lock", "try")
	b.gone("new", "poll")

	b.enoughMemory()
	b.leave(0, "left", graveMS)
	b.outOfMemory()
	refuse("lock", "try") // the slow path

	b.enoughMemory()
	b.mine("a", "lock")
	b.busy("b", "lock")
	b.outOfMemory()
	refuse("lock")
	b.busy("new", "try") // only asks

	b.do("DEL", b.lock)
	refuse("lock") // although another one could be granted
}

// What ends or keeps a hold must not need memory first.
func TestOutOfMemoryKeepsTheRestAtWork(t *testing.T) {
	for name, f := range map[string]func(t *testing.T, b *bed){
		"renew": func(t *testing.T, b *bed) {
			b.mine("a", "lock")
			b.do("PEXPIRE", b.lock, 1000)
			b.outOfMemory()
			b.renew(1, "a", leaseMS)
			b.fresh(b.lock, leaseMS)
			b.do("PEXPIRE", b.lock, 1000)
			b.mine("a", "lock") // a repeated acquire
			b.fresh(b.lock, leaseMS)
			b.drop(1, "a")
			if b.exists(b.lock) {
				t.Fatal("still held")
			}
		},
		"release": func(t *testing.T, b *bed) {
			b.mine("a", "lock")
			b.outOfMemory()
			b.release(1, "a")
			if b.exists(b.lock) {
				t.Fatal("still held")
			}
		},
		"release with waiters": func(t *testing.T, b *bed) {
			b.mine("a", "lock")
			b.busy("b", "lock")
			b.busy("c", "lock")
			b.do("DEL", b.last)
			hear := b.listen("b", "c")
			b.outOfMemory()
			b.release(1, "a")
			if heard := hear.heard(); len(heard) != 1 || heard[0].ID != "b" || b.holder() != "b" || !b.exists(b.last) {
				t.Fatalf("wake-ups %+v, held by %q", heard, b.holder())
			}
			b.leave(1, "b", 0) // of a granted waiter
			if b.holder() != "c" {
				t.Fatalf("held by %q", b.holder())
			}
		},
		"release behind the dead": func(t *testing.T, b *bed) {
			b.mine("a", "lock")
			b.enqueueDead(bound + 1)
			b.enqueue(bound+2, "live", time.Hour)
			b.outOfMemory()
			b.release(1+4, "a")
			b.pump(0)
			if b.holder() != "live" {
				t.Fatalf("held by %q", b.holder())
			}
		},
		"minimum hold": func(_ *testing.T, b *bed) {
			b.mine("a", "lock")
			b.outOfMemory()
			b.expect(1, b.releaseCall("a", "", 0, 5000))
			b.fresh(b.lock, 5000)
			b.renew(2, "a", leaseMS)
		},
		"minimum hold with waiters": func(_ *testing.T, b *bed) {
			b.mine("a", "lock")
			b.busy("b", "lock")
			hear := b.listen("b")
			b.outOfMemory()
			b.expect(1, b.releaseCall("a", "", 0, 5000))
			b.fresh(b.lock, 5000)
			hear.want(lua.WakeUp{ID: "b"})
		},
		"leave with a tombstone": func(_ *testing.T, b *bed) {
			b.outOfMemory()
			b.leave(0, "never there", graveMS)
			b.fresh(b.queue, graveMS)
			b.gone("never there", "try")
			b.enoughMemory()
			b.mine("a", "lock")
			b.busy("b", "lock")
			b.outOfMemory()
			b.leave(2, "b", graveMS)
			b.gone("b", "lock")
			b.leave(1, "a", graveMS)
			b.gone("a", "lock")
		},
		"poll of a waiter": func(t *testing.T, b *bed) {
			b.mine("a", "lock")
			b.busy("b", "lock")
			b.do("ZADD", b.queue, -1, "live b")
			b.outOfMemory()
			b.busy("b", "poll")
			if b.mark("live b") < b.nowMS() {
				t.Fatal("the poll did not say that it is alive")
			}
			b.busy("b", "lock") // a repeated first acquire
		},
		"poll of a free lock": func(t *testing.T, b *bed) {
			b.mine("a", "lock")
			for _, id := range []string{"b", "c", "d"} {
				b.busy(id, "lock")
			}
			b.do("DEL", b.lock)
			b.outOfMemory()
			b.busy("c", "poll")
			if b.holder() != "b" {
				t.Fatalf("held by %q", b.holder())
			}
			b.do("DEL", b.lock)
			b.mine("c", "poll")
			b.do("DEL", b.lock)
			b.gone("nobody", "poll")
			if b.holder() != "d" {
				t.Fatalf("held by %q", b.holder())
			}
		},
		"poll of a granted waiter": func(_ *testing.T, b *bed) {
			b.mine("a", "lock")
			b.busy("b", "lock")
			b.release(1, "a")
			b.do("PEXPIRE", b.lock, 1000)
			b.outOfMemory()
			b.mine("b", "poll")
			b.fresh(b.lock, leaseMS)
		},
		"pump": func(t *testing.T, b *bed) {
			b.mine("a", "lock")
			b.busy("b", "lock")
			b.do("DEL", b.lock)
			b.outOfMemory()
			b.pump(0)
			if b.holder() != "b" {
				t.Fatalf("held by %q", b.holder())
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := realBed(t)
			f(t, b)
		})
	}
}

// A user with no channels, which is what ACL SETUSER makes: the wake-up is
// refused, and the grant stands.
func TestPublishRefused(t *testing.T) {
	const muted = 8
	serve := map[string]func(b *bed){
		"release": func(b *bed) { b.release(1+muted, "a") },
		"leave":   func(b *bed) { b.leave(1+muted, "a", graveMS) },
		"pump":    func(b *bed) { b.do("DEL", b.lock); b.pump(muted) },
		"leave of a free lock": func(b *bed) {
			b.do("DEL", b.lock)
			b.leave(muted, "a", 0)
		},
		"poll": func(b *bed) {
			b.do("DEL", b.lock)
			if a := b.busy("c", "poll"); !a.Muted || a.More {
				b.t.Fatalf("reply %+v", a)
			}
		},
		"lock": func(b *bed) {
			b.do("DEL", b.lock)
			if a := b.busy("d", "lock"); !a.Muted {
				b.t.Fatalf("reply %+v", a)
			}
		},
		"try": func(b *bed) {
			b.do("DEL", b.lock)
			if a := b.busy("d", "try"); !a.Muted {
				b.t.Fatalf("reply %+v", a)
			}
		},
	}
	prepare := func(t *testing.T) *bed {
		t.Helper()
		s := testredis.Start(t)
		admin := s.Client(t)
		if err := admin.Do(t.Context(), "ACL", "SETUSER", "mute", "on", ">secret", "~*", "+@all", "resetchannels").Err(); err != nil {
			t.Fatal(err)
		}
		b := newBed(t, s.Client(t, func(o *redis.Options) { o.Username, o.Password = "mute", "secret" }))
		err := b.rdb.Publish(t.Context(), "inbox-b", "x").Err()
		if err == nil || lua.FailureOf(err) != lua.Lasting {
			t.Fatalf("PUBLISH = %v, want it to be refused for good", err)
		}
		b.mine("a", "lock")
		b.busy("b", "lock")
		b.busy("c", "lock")
		return b
	}
	for name, serve := range serve {
		t.Run(name, func(t *testing.T) {
			b := prepare(t)
			serve(b)
			if b.holder() != "b" {
				t.Fatalf("held by %q", b.holder())
			}
			if token := b.mine("b", "poll"); strconv.FormatInt(token, 10) != b.get(b.last) {
				t.Fatalf("token %d, stored %s", token, b.get(b.last))
			}
		})
	}
	t.Run("minimum hold", func(t *testing.T) {
		b := prepare(t)
		b.expect(1+muted, b.releaseCall("a", "", 0, 5000))
		b.fresh(b.lock, 5000)
		b.wantPlaces("b", "c")
	})
	t.Run("next in line", func(t *testing.T) {
		b := prepare(t)
		b.leave(2+muted, "b", 0)
		b.wantPlaces("c")
	})
	t.Run("nobody to wake", func(t *testing.T) {
		b := prepare(t)
		b.leave(2, "c", 0)
		b.leave(2, "b", 0)
		b.release(1, "a")
	})
}

func TestWrongTypeOfTheLock(t *testing.T) {
	b, _ := realBed(t)
	b.mine("a", "lock")
	b.busy("b", "lock")
	b.do("DEL", b.lock)
	b.do("RPUSH", b.lock, "x")
	for _, c := range []*lua.Call{
		b.acquireCall("a", "lock"), b.acquireCall("new", "lock"), b.acquireCall("new", "try"),
		b.acquireCall("b", "poll"), b.acquireCall("b", "lock"),
		b.releaseCall("a", "", 0, 0), b.releaseCall("b", requestOf("b"), graveMS, 0), b.releaseCall("a", "", 0, 5000),
		b.renewCall("a"), b.dropCall("a"), b.pumpCall(),
	} {
		b.refused(c, "WRONGTYPE", lua.Lasting)
	}
}

func TestWrongTypeOfTheQueue(t *testing.T) {
	b, _ := realBed(t)
	b.do("RPUSH", b.queue, "x")
	refuse := func(calls ...*lua.Call) {
		t.Helper()
		for _, c := range calls {
			b.refused(c, "WRONGTYPE", lua.Lasting)
		}
	}
	refuse(
		b.acquireCall("a", "lock"), b.acquireCall("a", "try"), b.acquireCall("a", "poll"),
		b.releaseCall("a", "", 0, 0), b.releaseCall("a", "", graveMS, 0), b.pumpCall(),
	)
	b.do("SET", b.lock, "a 1 30000 inbox-a x", "PX", leaseMS)
	refuse(
		b.acquireCall("b", "lock"), b.acquireCall("b", "try"), b.acquireCall("b", "poll"),
		b.releaseCall("a", "", 0, 0), b.releaseCall("a", "", graveMS, 0), b.releaseCall("a", "", 0, 5000),
		b.releaseCall("b", "", 0, 0),
	)
	// The holder is not harmed, and can give the lock back by its one key.
	b.mine("a", "lock")
	b.renew(1, "a", leaseMS)
	b.drop(1, "a")
}

func TestWrongTypeOfTheLastToken(t *testing.T) {
	b, _ := realBed(t)
	b.do("RPUSH", b.last, "x")
	refuse := func(calls ...*lua.Call) {
		t.Helper()
		for _, c := range calls {
			b.refused(c, "WRONGTYPE", lua.Lasting)
		}
	}
	refuse(b.acquireCall("a", "lock"), b.acquireCall("a", "try"))
	b.enqueue(1, "b", time.Hour)
	b.enqueue(2, "c", time.Hour)
	refuse(
		b.acquireCall("a", "lock"), b.acquireCall("a", "try"), b.acquireCall("b", "poll"),
		b.releaseCall("b", requestOf("b"), graveMS, 0), b.pumpCall(),
	)
	b.do("SET", b.lock, "other", "PX", leaseMS)
	refuse(b.acquireCall("a", "lock"), b.acquireCall("a", "try"), b.acquireCall("b", "poll"))
	// A hold of ours knows its token, so it can be handed on.
	b.do("SET", b.lock, "a 1 30000 inbox-a x", "PX", leaseMS)
	b.release(1, "a")
	if b.holder() != "b" || b.get(b.last) == "" {
		t.Fatal(b.dump())
	}
}

// Read-only replicas and masters without theirs refuse each write before the
// first one is done.
func TestWritesRefused(t *testing.T) {
	for word, refuseWrites := range map[string]func(b *bed){
		// The master is nobody: the data stays.
		"READONLY":   func(b *bed) { b.do("REPLICAOF", "127.0.0.1", "1") },
		"NOREPLICAS": func(b *bed) { b.do("CONFIG", "SET", "min-replicas-to-write", "1") },
	} {
		t.Run(word, func(t *testing.T) {
			t.Run("free", func(t *testing.T) {
				b, _ := realBed(t)
				refuseWrites(b)
				b.refused(b.acquireCall("a", "lock"), word, lua.Passing)
				b.refused(b.acquireCall("a", "try"), word, lua.Passing)
				b.refused(b.releaseCall("a", "", graveMS, 0), word, lua.Passing)
				b.gone("a", "poll")
			})
			t.Run("held", func(t *testing.T) {
				b, _ := realBed(t)
				b.mine("a", "lock")
				refuseWrites(b)
				for _, c := range []*lua.Call{
					b.acquireCall("a", "lock"), b.acquireCall("b", "lock"), b.renewCall("a"), b.dropCall("a"),
					b.releaseCall("a", "", 0, 0), b.releaseCall("a", "", 0, 5000), b.releaseCall("b", requestOf("b"), graveMS, 0),
				} {
					b.refused(c, word, lua.Passing)
				}
				b.busy("b", "try") // reads only
			})
			t.Run("contended", func(t *testing.T) {
				b, _ := realBed(t)
				b.mine("a", "lock")
				b.busy("b", "lock")
				refuseWrites(b)
				b.refused(b.releaseCall("a", "", 0, 0), word, lua.Passing)
				b.refused(b.acquireCall("b", "poll"), word, lua.Passing)
			})
			t.Run("expired", func(t *testing.T) {
				b, _ := realBed(t)
				b.enqueue(1, "dead")
				b.enqueue(2, "b", time.Hour)
				refuseWrites(b)
				for _, c := range []*lua.Call{
					b.pumpCall(), b.acquireCall("b", "poll"), b.acquireCall("c", "lock"), b.acquireCall("c", "try"),
					b.acquireCall("c", "poll"), b.releaseCall("c", "", 0, 0),
				} {
					b.refused(c, word, lua.Passing)
				}
			})
		})
	}
}

func TestUnknownScriptIsSentWhole(t *testing.T) {
	b, s := realBed(t)
	count := s.CountClientCommands(t)
	check := func(evalsha, eval int64) {
		t.Helper()
		got := count.ByName()
		if got["EVALSHA"] != evalsha || got["EVAL"] != eval {
			t.Fatalf("sent %v, want %d EVALSHA and %d EVAL", got, evalsha, eval)
		}
		count.Reset()
	}
	call := func() *lua.Call { return b.renewCall("a") }
	b.expect(0, call())
	check(1, 1)
	b.expect(0, call())
	check(1, 0)
	b.do("SCRIPT", "FLUSH")
	count.Reset()
	b.expect(0, call())
	check(1, 1)
	b.expect(0, call())
	check(1, 0)

	// A call whose whole script fails says so.
	b.do("SCRIPT", "FLUSH")
	b.do("RPUSH", b.lock, "x")
	b.refused(call(), "WRONGTYPE", lua.Lasting)
}

func TestPipeline(t *testing.T) {
	b, s := realBed(t)
	names := []string{"one", "two", "three", "four"}
	var locks []*bed
	for _, name := range names {
		set, err := keys.For("holdfast:", "mutex", name)
		if err != nil {
			t.Fatal(err)
		}
		other := *b
		other.keys = []any{set.Lock, set.Queue, set.Token}
		other.lock, other.queue, other.last = set.Lock, set.Queue, set.Token
		locks = append(locks, &other)
	}
	count := s.CountClientCommands(t)
	// Scripts of three kinds, in any order, some of them refused for good.
	run := func(evalsha, eval int64) {
		t.Helper()
		b.do("DEL", "list")
		b.do("RPUSH", "list", "x")
		for _, l := range locks {
			l.do("DEL", l.lock, l.queue, l.last)
		}
		locks[0].do("SET", locks[0].lock, "a 1 30000 inbox-a x", "PX", leaseMS)
		locks[1].do("SET", locks[1].lock, "a 1 30000 inbox-a x", "PX", leaseMS)
		locks[2].do("SET", locks[2].lock, "other", "PX", leaseMS)
		count.Reset()
		calls := []*lua.Call{
			locks[0].renewCall("a"),
			lua.NewCall(lua.MutexRenew, []any{"list"}, "a", leaseMS),
			locks[1].releaseCall("a", "", 0, 0),
			locks[2].renewCall("a"),
			locks[3].acquireCall("a", "lock"),
			locks[3].releaseCall("b", "", 0, 0),
			locks[3].renewCall("a"),
		}
		lua.DoAll(t.Context(), b.rdb, calls)
		for i, want := range []int64{1, -1, 1, 2, -2, -3, -3} {
			got, err := calls[i].Int64()
			switch want {
			case -1:
				if err == nil || !strings.HasPrefix(err.Error(), "WRONGTYPE") {
					t.Fatalf("call %d = %v, %v", i, got, err)
				}
			case -2:
				if a, failure := calls[i].Acquired(); failure != nil || a.Status != lua.Yours {
					t.Fatalf("call %d = %+v, %v", i, a, failure)
				}
			case -3: // which of the three about one lock comes first is open
				if err != nil || got < 0 || got > 2 {
					t.Fatalf("call %d = %v, %v", i, got, err)
				}
			default:
				if err != nil || got != want {
					t.Fatalf("call %d = %v, %v; want %d", i, got, err, want)
				}
			}
		}
		got := count.ByName()
		if got["EVALSHA"] != evalsha || got["EVAL"] != eval {
			t.Fatalf("sent %v, want %d EVALSHA and %d EVAL", got, evalsha, eval)
		}
	}
	// The first call of each unknown script goes whole, and the rest again.
	run(7+4, 3)
	run(7, 0)
	b.do("SCRIPT", "FLUSH")
	run(7+4, 3)
	b.do("SCRIPT", "FLUSH")
	b.run(lua.MutexRenew, b.keys[:1], "a", leaseMS)
	run(7+1, 2)
	run(7, 0)
}

func TestPipelineOfOneAndOfNone(t *testing.T) {
	b, s := realBed(t)
	count := s.CountClientCommands(t)
	lua.DoAll(t.Context(), b.rdb, nil)
	if got := count.Total(); got != 0 {
		t.Fatalf("nothing took %d commands", got)
	}
	c := b.renewCall("a")
	lua.DoAll(t.Context(), b.rdb, []*lua.Call{c})
	if r, err := c.Released(); err != nil || r != (lua.Released{}) {
		t.Fatalf("%+v, %v", r, err)
	}
}

// Each call of a pipeline that gets no answer says so, and none is sent twice.
func TestPipelineWithoutAServer(t *testing.T) {
	b, s := realBed(t)
	s.Kill()
	calls := []*lua.Call{b.renewCall("a"), b.releaseCall("a", "", 0, 0), b.renewCall("b")}
	lua.DoAll(t.Context(), b.rdb, calls)
	for _, c := range calls {
		if _, err := c.Released(); err == nil || lua.FailureOf(err) != lua.Unknown {
			t.Fatalf("answer %v", err)
		}
	}
	if err := b.renewCall("a").Do(t.Context(), b.rdb); err == nil || lua.FailureOf(err) != lua.Unknown {
		t.Fatalf("answer %v", err)
	}
}

func TestClosedClientIsLasting(t *testing.T) {
	b, _ := realBed(t)
	if err := b.rdb.Close(); err != nil {
		t.Fatal(err)
	}
	err := b.renewCall("a").Do(t.Context(), b.rdb)
	if !errors.Is(err, redis.ErrClosed) || lua.FailureOf(err) != lua.Lasting {
		t.Fatalf("answer %v", err)
	}
}

// A cluster node refuses scripts that touch another slot than their keys', and
// go-redis routes by the first key.
func TestClusterNode(t *testing.T) {
	cluster := testredis.StartCluster(t, 1, false).Client(t)
	for _, name := range []string{"plain", "{tag}x", "x{tag}", "{}", "{}{a}", "}", "a}b", "{", "a{b", "{{a}", "ä ö", "\x00", "}{x}"} {
		set, err := keys.For("", "mutex", name)
		if err != nil {
			t.Fatal(err)
		}
		all := []any{set.Lock, set.Queue, set.Token}
		var calls []*lua.Call
		for _, id := range []string{"a", "b"} {
			calls = append(calls, lua.NewCall(lua.MutexAcquire, all, id, requestOf(id), leaseMS, "lock", aliveMS))
		}
		calls = append(calls,
			lua.NewCall(lua.MutexRenew, all[:1], "a", leaseMS),
			lua.NewCall(lua.MutexRelease, all, "c", requestOf("c"), graveMS, 0, 0),
			lua.NewCall(lua.MutexRelease, all, "a", "", 0, 0, 0),
			lua.NewCall(lua.MutexDrop, all[:1], "b"),
			lua.NewCall(lua.MutexPump, all),
			lua.NewCall(lua.MutexAcquire, all, "b", requestOf("b"), leaseMS, "poll", aliveMS),
		)
		var got []string
		for _, c := range calls {
			if err := c.Do(t.Context(), cluster); err != nil {
				t.Fatalf("%q: %q: %v", name, c.Args()[3:], err)
			}
			if n, err := c.Int64(); err == nil {
				got = append(got, strconv.FormatInt(min(n, 100), 10)) // a token is any large number
			} else {
				got = append(got, "busy")
			}
		}
		if want := []string{"100", "busy", "1", "2", "1", "1", "0", "0"}; !slices.Equal(got, want) {
			t.Fatalf("%q: %q, want %q", name, got, want)
		}
		again := lua.NewCall(lua.MutexRenew, all[:1], "a", leaseMS)
		lua.DoAll(t.Context(), cluster, []*lua.Call{again, lua.NewCall(lua.MutexPump, all)})
		if r, err := again.Released(); err != nil || r != (lua.Released{}) {
			t.Fatalf("%q: %+v, %v", name, r, err)
		}
	}
}
