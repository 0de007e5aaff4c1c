package keys_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/internal/keys"
	"github.com/holdfast-go/holdfast/internal/testredis"
)

// nasty are names that each broke some way to build a companion key.
var nasty = []string{
	"plain", "with space", "a:b", "ä ö ü", "日本", "\x00", "\xff\xfe", "\n", "%s%d",
	"{tag}", "{tag}x", "x{tag}", "a{b}c{d}e", "{{a}}", "{{a}", "{a}}", "{ }", "{\x00}",
	"{}", "{}{a}", "{}a", "a{}b{c}", "{", "}", "}{", "}{a}", "a}b", "a{b", "a{b}", "{a{b}c}", "}}{{", "{}}",
	"q:{x}x", "holdfast", "holdfast:", "holdfast:mutex:x", "holdfast:q", "holdfast:inbox", "HOLDFAST:q:x", " holdfast:q:x",
	strings.Repeat("x", 4000), strings.Repeat("}", 4000), strings.Repeat("{", 4000),
}

var prefixes = []string{"", "holdfast:", "{app}:", "a}b:", "{", "}", "{}"}

// checkSet wants all keys of one lock in one slot, no key that could be another
// lock's, and companions that tell their lock.
func checkSet(t *testing.T, set keys.Set, want string) {
	t.Helper()
	if set.Lock != want {
		t.Fatalf("the lock key is %q, want %q", set.Lock, want)
	}
	tag := keys.Tag(set.Lock)
	if tag == "" || strings.Contains(tag, "}") {
		t.Fatalf("the tag of %q is %q", set.Lock, tag)
	}
	slot := keys.Slot(set.Lock)
	if slot < 0 || slot > 16383 {
		t.Fatalf("slot %d", slot)
	}
	for companion, prefix := range map[string]string{set.Queue: "holdfast:q:", set.Token: "holdfast:t:", set.Shares: "holdfast:h:"} {
		if got := keys.Slot(companion); got != slot {
			t.Fatalf("%q is in slot %d, its companion %q in %d", set.Lock, slot, companion, got)
		}
		// Up to the first '}' there is the tag, and behind it the lock key: two
		// locks cannot share a companion.
		rest, ok := strings.CutPrefix(companion, prefix+"{")
		_, lock, closed := strings.Cut(rest, "}")
		if !ok || !closed || lock != set.Lock {
			t.Fatalf("the companion %q does not tell its lock %q", companion, set.Lock)
		}
		if _, err := keys.For("", "", companion); err == nil {
			t.Fatalf("the companion %q could be a lock", companion)
		}
	}
	if set.Queue == set.Token || set.Queue == set.Shares || set.Token == set.Shares {
		t.Fatalf("one companion for two things: %+v", set)
	}
}

func TestNastyNames(t *testing.T) {
	seen := map[string]string{} // companion to lock
	for _, prefix := range prefixes {
		for _, kind := range []string{"mutex", "semaphore"} {
			for _, name := range nasty {
				set, err := keys.For(prefix, kind, name)
				if err != nil {
					t.Fatalf("%q %s %q: %v", prefix, kind, name, err)
				}
				want := name
				if prefix != "" {
					want = prefix + kind + ":" + name
				}
				checkSet(t, set, want)
				for _, key := range []string{set.Lock, set.Queue, set.Token, set.Shares} {
					if other, ok := seen[key]; ok && other != set.Lock {
						t.Fatalf("%q belongs to %q and to %q", key, other, set.Lock)
					}
					seen[key] = set.Lock
				}
			}
		}
	}
}

// Written in stone: clients of all versions must meet in the same keys.
func TestSpelling(t *testing.T) {
	for _, c := range []struct {
		prefix, name string
		want         keys.Set
	}{
		{"holdfast:", "{order}:7", keys.Set{
			Lock:  "holdfast:mutex:{order}:7",
			Queue: "holdfast:q:{order}holdfast:mutex:{order}:7",
			Token: "holdfast:t:{order}holdfast:mutex:{order}:7", Shares: "holdfast:h:{order}holdfast:mutex:{order}:7",
		}},
		{"", "plain", keys.Set{Lock: "plain", Queue: "holdfast:q:{plain}plain", Token: "holdfast:t:{plain}plain", Shares: "holdfast:h:{plain}plain"}},
		{"", "a{b", keys.Set{Lock: "a{b", Queue: "holdfast:q:{a{b}a{b", Token: "holdfast:t:{a{b}a{b", Shares: "holdfast:h:{a{b}a{b"}},
		{"", "a}b", keys.Set{Lock: "a}b", Queue: "holdfast:q:{4w2}a}b", Token: "holdfast:t:{4w2}a}b", Shares: "holdfast:h:{4w2}a}b"}},
		{"", "{}", keys.Set{Lock: "{}", Queue: "holdfast:q:{2ml}{}", Token: "holdfast:t:{2ml}{}", Shares: "holdfast:h:{2ml}{}"}},
	} {
		if got, err := keys.For(c.prefix, "mutex", c.name); err != nil || got != c.want {
			t.Errorf("%q %q: %+v, %v", c.prefix, c.name, got, err)
		}
	}
	for name, want := range map[string]string{ // RedissonObject.prefixName
		"plain": "redisson_lock__channel:{plain}", "{order}:7": "redisson_lock__channel:{order}:7", "a}b": "redisson_lock__channel:{a}b}",
	} {
		if got := keys.Redisson(name); got != want {
			t.Errorf("channel %q, want %q", got, want)
		}
	}
	if got := keys.Inbox("id"); got != "holdfast:inbox:id" {
		t.Errorf("inbox %q", got)
	}
}

func TestRefusals(t *testing.T) {
	long := strings.Repeat("x", keys.MaxName)
	for _, c := range []struct{ prefix, kind, name, says string }{
		{"", "mutex", "", "empty"},
		{"holdfast:", "mutex", "", "empty"},
		{"", "mutex", long + "x", "4097"},
		{"p:", "mutex", long, "4104"},
		{"", "mutex", "holdfast:q:x", "holdfast:q:"},
		{"", "mutex", "holdfast:q:", "holdfast:q:"},
		{"", "mutex", "holdfast:t:{x}x", "holdfast:t:"},
		{"", "mutex", "holdfast:inbox:x", "holdfast:inbox:"},
		{"holdfast:q:", "mutex", "x", "holdfast:q:"},
		{"holdfast:", "q", "x", "holdfast:q:"},
		{"hold", "fast:t", "x", "holdfast:t:"},
	} {
		set, err := keys.For(c.prefix, c.kind, c.name)
		if err == nil || set != (keys.Set{}) || !strings.Contains(err.Error(), c.says) || len(err.Error()) > 400 {
			t.Errorf("%q %q %.40q: %+v, %v; want an error that says %q", c.prefix, c.kind, c.name, set, err, c.says)
		}
	}
	for _, c := range []struct{ prefix, name string }{{"", long}, {"", "x"}, {"p:", long[:keys.MaxName-len("p:mutex:")]}} {
		if _, err := keys.For(c.prefix, "mutex", c.name); err != nil {
			t.Errorf("%q %.40q: %v", c.prefix, c.name, err)
		}
	}
}

func TestSlot(t *testing.T) {
	for key, want := range map[string]int{ // from the Redis Cluster specification and its server
		"": 0, "123456789": 0x31C3, "foo": 12182, "bar": 5061, "foo{bar}baz": 5061, "{user1000}.following": 3443, "user1000": 3443,
	} {
		if got := keys.Slot(key); got != want {
			t.Errorf("slot of %q is %d, want %d", key, got, want)
		}
	}
}

// The server decides what slot a key is in.
func TestSlotIsTheServers(t *testing.T) {
	rdb := testredis.Start(t, "--cluster-enabled", "yes").Client(t)
	names := append([]string{""}, nasty...)
	const letters = "{}{}ab:\x00ü"
	for range 400 {
		name := make([]byte, rand.IntN(12))
		for i := range name {
			name[i] = letters[rand.IntN(len(letters))]
		}
		names = append(names, string(name))
	}
	for _, name := range names {
		all := []string{name}
		if set, err := keys.For("", "mutex", name); err == nil {
			all = append(all, set.Queue, set.Token, set.Shares)
		}
		for _, key := range all {
			want, err := rdb.ClusterKeySlot(t.Context(), key).Result()
			if err != nil {
				t.Fatal(err)
			}
			if got := keys.Slot(key); int64(got) != want {
				t.Fatalf("slot of %q is %d, the server says %d", key, got, want)
			}
		}
	}
}

func FuzzFor(f *testing.F) {
	for i, name := range nasty {
		f.Add(prefixes[i%len(prefixes)], "mutex", name)
	}
	f.Add("", "", "")
	f.Add("holdfast:", "q", "x")
	f.Fuzz(func(t *testing.T, prefix, kind, name string) {
		want := name
		if prefix != "" {
			want = prefix + kind + ":" + name
		}
		set, err := keys.For(prefix, kind, name)
		if err == nil {
			checkSet(t, set, want)
			return
		}
		reserved := strings.HasPrefix(want, "holdfast:q:") || strings.HasPrefix(want, "holdfast:t:") ||
			strings.HasPrefix(want, "holdfast:h:") || strings.HasPrefix(want, "holdfast:inbox:")
		if name != "" && len(want) <= keys.MaxName && !reserved {
			t.Fatalf("%q is refused: %v", want, err)
		}
	})
}
