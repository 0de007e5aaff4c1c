package lua_test

import (
	"slices"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/internal/keys"
	"github.com/holdfast-go/holdfast/internal/kind"
	"github.com/holdfast-go/holdfast/internal/testredis"
	"github.com/holdfast-go/holdfast/lua"
)

// What a real server may refuse, of the weighted lock and the reentrant one.

// younger are the kinds of these tests, with holders that shut others out.
var younger = map[string]struct {
	kind *kind.Kind
	make func(id string) claimant
}{
	"weighted":  {kind.RWLock, writer},
	"reentrant": {kind.Reentrant, func(id string) claimant { return owned(id, "owner of "+id) }},
}

// realKits runs f for each kind on a real server of its own.
func realKits(t *testing.T, f func(t *testing.T, k *kit, c func(id string) claimant)) {
	t.Helper()
	for name, y := range younger {
		t.Run(name, func(t *testing.T) {
			b, _ := realBed(t)
			f(t, newKit(b, y.kind), y.make)
		})
	}
}

// holdsKey is the key in which a hold's end is.
func (k *kit) holdsKey() string {
	if k.kind.Owned {
		return k.shares
	}
	return k.lock
}

func TestKindsOutOfMemoryRefusesAcquire(t *testing.T) {
	realKits(t, func(_ *testing.T, k *kit, c func(id string) claimant) {
		refuse := func(modes ...string) {
			t.Helper()
			for _, mode := range modes {
				k.refused(k.acquireOf(c("new"), mode), "OOM", lua.Passing)
			}
		}
		k.outOfMemory()
		refuse("lock", "try")
		k.polls(lua.Gone, c("new"))

		k.enoughMemory() // the slow path
		k.expect(0, k.releaseOf(c("left"), graveMS, 0))
		k.outOfMemory()
		refuse("lock", "try")

		k.enoughMemory() // behind what has ended, which must stay as it is
		k.do("DEL", k.queue)
		k.takes(c("ended"))
		k.ends(k.holdsKey(), c("ended"))
		k.outOfMemory()
		refuse("lock", "try")

		k.enoughMemory()
		k.takes(c("a"))
		k.outOfMemory()
		refuse("lock")
		if a := k.asked(c("new"), "try"); a.Status != lua.Busy {
			t.Fatalf("%+v", a) // only asks
		}
	})
	t.Run("again", func(t *testing.T) {
		b, _ := realBed(t)
		k := newKit(b, kind.Reentrant)
		k.takes(owned("a", "A"))
		k.asked(owned("b", "A"), "lock")
		k.ends(k.shares, owned("b", "A"))
		k.outOfMemory()
		for _, id := range []string{"b", "c"} {
			k.refused(k.acquireOf(owned(id, "A"), "lock"), "OOM", lua.Passing)
		}
	})
}

// What ends or keeps a hold must not need memory first, nor must a waiter.
func TestKindsOutOfMemoryKeepsTheRestAtWork(t *testing.T) {
	for name, f := range map[string]func(t *testing.T, k *kit, c func(id string) claimant){
		"renew": func(_ *testing.T, k *kit, c func(id string) claimant) {
			k.takes(c("a"))
			k.outOfMemory()
			k.expect(1, k.renewOf(c("a"), 2*leaseMS))
			k.fresh(k.lock, 2*leaseMS)
			k.takes(c("a")) // a repeated acquire
			k.expect(1, k.dropOf(c("a")))
			if k.exists(k.lock) {
				t.Fatal(k.dump())
			}
		},
		"release": func(t *testing.T, k *kit, c func(id string) claimant) {
			k.takes(c("a"))
			k.waits(c("b"), c("c"))
			k.do("DEL", k.last)
			k.outOfMemory()
			k.expect(1, k.releaseOf(c("a"), 0, 0))
			k.polls(lua.Yours, c("b"))
			k.expect(1, k.releaseOf(c("b"), graveMS, 0)) // of a granted waiter
			k.polls(lua.Yours, c("c"))
			k.expect(1, k.releaseOf(c("c"), 0, 0))
			if k.exists(k.lock) {
				t.Fatal(k.dump())
			}
		},
		"leave": func(_ *testing.T, k *kit, c func(id string) claimant) {
			k.takes(c("a"))
			k.waits(c("b"))
			k.outOfMemory()
			k.expect(2, k.releaseOf(c("b"), graveMS, 0))
			k.expect(2, k.releaseOf(c("never"), graveMS, 0))
			k.fresh(k.queue, graveMS)
			k.inLine()
		},
		"minimum hold": func(_ *testing.T, k *kit, c func(id string) claimant) {
			k.takes(c("a"))
			k.waits(c("b"))
			hear := k.listen("b")
			k.outOfMemory()
			k.expect(1, k.releaseOf(c("a"), 0, 2*leaseMS))
			k.fresh(k.lock, 2*leaseMS)
			hear.want(lua.WakeUp{ID: "b"})
		},
		"poll": func(_ *testing.T, k *kit, c func(id string) claimant) {
			k.takes(c("a"))
			k.waits(c("b"), c("c"))
			k.outOfMemory()
			k.polls(lua.Busy, c("b"), c("c"))
			k.enoughMemory()
			k.ends(k.holdsKey(), c("a"))
			k.outOfMemory()
			k.polls(lua.Busy, c("c"))
			k.polls(lua.Yours, c("b"))
		},
		"pump": func(_ *testing.T, k *kit, c func(id string) claimant) {
			k.takes(c("a"))
			k.waits(c("b"))
			k.ends(k.holdsKey(), c("a"))
			k.outOfMemory()
			k.expect(0, k.pumpOf())
			k.polls(lua.Yours, c("b"))
			k.enoughMemory()
			k.ends(k.holdsKey(), c("b"))
			k.outOfMemory()
			k.expect(0, k.pumpOf()) // nobody waits
			if k.exists(k.lock) {
				t.Fatal(k.dump())
			}
		},
	} {
		t.Run(name, func(t *testing.T) { realKits(t, f) })
	}
	t.Run("one of several", func(t *testing.T) {
		for name, k := range map[string]*kind.Kind{"weighted": kind.RWLock, "reentrant": kind.Reentrant} {
			t.Run(name, func(t *testing.T) {
				b, _ := realBed(t)
				k := newKit(b, k)
				c := reader
				if k.kind.Owned {
					c = func(id string) claimant { return owned(id, "A") }
				}
				for _, id := range []string{"a", "b", "c", "d", "e"} {
					k.asked(c(id), "lock")
				}
				k.ends(k.holdsKey(), c("e"))
				k.outOfMemory()
				k.expect(1, k.renewOf(c("a"), leaseMS)) // and counts out what has ended
				k.expect(1, k.dropOf(c("b")))
				k.expect(1, k.releaseOf(c("c"), 0, leaseMS))
				k.expect(1, k.releaseOf(c("d"), 0, 0))
				if k.kind.Owned && k.count("A") != "2" || !k.kind.Owned && k.weight() != 2 {
					t.Fatal(k.dump())
				}
			})
		}
	})
	t.Run("downgrade", func(t *testing.T) {
		b, _ := realBed(t)
		k := newKit(b, kind.RWLock)
		token := k.takes(writer("w"))
		k.waits(reader("r"))
		k.outOfMemory()
		for range 2 {
			if got, err := k.run(lua.WeightedDowngrade, k.keys, k.downgradeOf(writer("w")).Args()[6:]...).Int64(); got != token {
				t.Fatalf("%d, %v; want %d", got, err, token)
			}
		}
		k.polls(lua.Yours, reader("r"))
		if k.weight() != 2 {
			t.Fatal(k.dump())
		}
	})
}

// A user without channels: nobody is told, and all is done.
func TestKindsPublishRefused(t *testing.T) {
	const muted = 8
	for name, y := range younger {
		t.Run(name, func(t *testing.T) {
			s := testredis.Start(t)
			admin := s.Client(t)
			if err := admin.Do(t.Context(), "ACL", "SETUSER", "mute", "on", ">secret", "~*", "+@all", "resetchannels").Err(); err != nil {
				t.Fatal(err)
			}
			k := newKit(newBed(t, s.Client(t, func(o *redis.Options) { o.Username, o.Password = "mute", "secret" })), y.kind)
			c := y.make
			k.takes(c("a"))
			k.waits(c("b"), c("c"), c("d"))
			k.expect(1+muted, k.releaseOf(c("a"), 0, 0))
			k.polls(lua.Yours, c("b"))
			k.ends(k.holdsKey(), c("b"))
			k.expect(muted, k.pumpOf())
			k.polls(lua.Yours, c("c"))
			k.expect(1+muted, k.releaseOf(c("c"), 0, leaseMS)) // the next one is told to look again
			k.do("DEL", k.lock)
			if a := k.asked(c("e"), "try"); !a.Muted || a.Status != lua.Busy {
				t.Fatalf("%+v", a)
			}
			k.expect(1, k.releaseOf(c("d"), 0, 0)) // nobody to tell
			if k.kind.Owned {
				k.takes(c("a"))
				k.expect(1+muted, k.releaseOf(c("a"), 0, 0, redisson))
			}
			if k.exists(k.lock) {
				t.Fatal(k.dump())
			}
		})
	}
}

// everyCall is one call of each script, as they are made with a held and with a
// waiting id.
func (k *kit) everyCall(c func(id string) claimant) []*lua.Call {
	calls := []*lua.Call{
		k.acquireOf(c("new"), "lock"), k.acquireOf(c("new"), "try"), k.acquireOf(c("b"), "poll"), k.acquireOf(c("a"), "lock"),
		k.releaseOf(c("a"), 0, 0), k.releaseOf(c("a"), 0, leaseMS), k.releaseOf(c("b"), graveMS, 0),
		k.renewOf(c("a"), leaseMS), k.dropOf(c("a")), k.pumpOf(),
	}
	if k.kind == kind.RWLock {
		calls = append(calls, k.downgradeOf(c("a")))
	}
	return calls
}

// A key of another type is refused for good, before anything is done.
func TestKindsWrongType(t *testing.T) {
	for _, which := range []string{"lock", "queue", "last", "shares"} {
		t.Run(which, func(t *testing.T) {
			realKits(t, func(t *testing.T, k *kit, c func(id string) claimant) {
				if which == "shares" && !k.kind.Owned {
					t.Skip("has none")
				}
				k.takes(c("a"))
				k.waits(c("b"))
				key := map[string]string{"lock": k.lock, "queue": k.queue, "last": k.last, "shares": k.shares}[which]
				k.do("DEL", key)
				k.do("RPUSH", key, "x")
				for i, call := range k.everyCall(c) {
					before := k.dump()
					err := call.Do(t.Context(), k.rdb)
					switch {
					case err == nil && (which == "last" || which == "queue"):
						// It did not need it.
						if i == 7 { // a renewal: what follows are those that end what is held
							return
						}
					case err == nil || lua.FailureOf(err) != lua.Lasting || k.dump() != before:
						t.Fatalf("%q = %v\n%s\n%s", call.Args()[3:], err, before, k.dump())
					}
				}
			})
		})
	}
}

// A read-only server changes nothing.
func TestKindsWritesRefused(t *testing.T) {
	realKits(t, func(_ *testing.T, k *kit, c func(id string) claimant) {
		k.takes(c("a"))
		k.waits(c("b"))
		k.do("REPLICAOF", "127.0.0.1", "1") // the master is nobody: the data stays
		for _, call := range k.everyCall(c) {
			switch call.Args()[1] {
			case k.kind.Pump.SHA(): // has nothing to do
				k.unchanged("a pump", func() { k.expect(0, call) })
				continue
			}
			if slices.Contains(call.Args(), any("try")) {
				continue // only asks
			}
			k.refused(call, "READONLY", lua.Passing)
		}
	})
	realKits(t, func(_ *testing.T, k *kit, c func(id string) claimant) {
		k.takes(c("a"))
		k.waits(c("b"))
		k.ends(k.holdsKey(), c("a"))
		k.do("REPLICAOF", "127.0.0.1", "1")
		for _, call := range []*lua.Call{k.pumpOf(), k.acquireOf(c("b"), "poll"), k.acquireOf(c("c"), "try"), k.releaseOf(c("a"), 0, 0)} {
			k.refused(call, "READONLY", lua.Passing)
		}
	})
}

// A cluster node refuses scripts that touch a key which they did not declare.
func TestKindsClusterNode(t *testing.T) {
	cluster := testredis.StartCluster(t, 1, false).Client(t)
	for name, y := range younger {
		for _, lock := range []string{"plain", "x{tag}", "{}{a}", "a}b", "ä ö", "\x00"} {
			set, err := keys.For("", y.kind.Name, lock+name)
			if err != nil {
				t.Fatal(err)
			}
			k := &kit{kind: y.kind, shares: set.Shares, bed: &bed{
				keys: []any{set.Lock, set.Queue, set.Token}, lock: set.Lock, queue: set.Queue, last: set.Token,
			}}
			if y.kind.Owned {
				k.keys = append(k.keys, set.Shares)
			}
			a, b := y.make("a"), y.make("b")
			calls := []*lua.Call{
				k.acquireOf(a, "lock"), k.acquireOf(b, "lock"), k.acquireOf(b, "poll"), k.renewOf(a, leaseMS),
				k.releaseOf(y.make("c"), graveMS, 0), k.releaseOf(a, 0, 0, k.fifth()), k.dropOf(b), k.pumpOf(),
				k.acquireOf(a, "lock"), k.releaseOf(a, 0, leaseMS, k.fifth()),
			}
			want := []string{"100", "busy", "busy", "1", "2", "1", "1", "0", "100", "1"}
			if !y.kind.Owned {
				calls = append(calls, k.downgradeOf(a))
				want = append(want, "0")
			}
			var got []string
			for _, c := range calls {
				if err := c.Do(t.Context(), cluster); err != nil {
					t.Fatalf("%s %q: %q: %v", name, lock, c.Args()[3:], err)
				}
				if n, err := c.Int64(); err == nil {
					got = append(got, strconv.FormatInt(min(n, 100), 10)) // a token is any large number
				} else {
					got = append(got, "busy")
				}
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%s %q: %q, want %q", name, lock, got, want)
			}
		}
	}
}
