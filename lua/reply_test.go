package lua_test

import (
	"errors"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/lua"
)

// answered is a call that Redis has answered so.
func answered(reply any) *lua.Call {
	c := lua.NewCall(lua.MutexAcquire, []any{"k"})
	c.SetVal(reply)
	return c
}

func TestDecodeAcquired(t *testing.T) {
	const ours = "host 1: the holder"
	busy := func(values ...any) []any { return values }
	for _, c := range []struct {
		reply any
		want  lua.Acquired
	}{
		{int64(0), lua.Acquired{Status: lua.Gone}},
		{int64(1), lua.Acquired{Status: lua.Yours, Token: 1}},
		{int64(math.MaxInt64), lua.Acquired{Status: lua.Yours, Token: math.MaxInt64}},
		{
			busy(int64(77), int64(1500), int64(2), int64(3), int64(0), int64(1), ours),
			lua.Acquired{
				Status: lua.Busy, Token: 77, Remaining: 1500 * time.Millisecond,
				Ahead: 2, Places: 3, Holder: "host 1: the holder",
			},
		},
		{
			busy(int64(77), int64(0), int64(0), int64(0), int64(0), int64(1), ""),
			lua.Acquired{Status: lua.Busy, Token: 77},
		},
		{ // another library's, without end: its value is nobody's name
			busy(int64(0), int64(-1), int64(0), int64(1), int64(0), int64(0), ""),
			lua.Acquired{Status: lua.Busy, Endless: true, Foreign: true, Places: 1},
		},
		{ // nobody's, but there is more to look at
			busy(int64(77), int64(-2), int64(128), int64(200), int64(4), int64(0), ""),
			lua.Acquired{Status: lua.Busy, Token: 77, Free: true, Ahead: 128, Places: 200, More: true},
		},
		{
			busy(int64(77), int64(1), int64(0), int64(0), int64(8), int64(1), ours),
			lua.Acquired{Status: lua.Busy, Token: 77, Remaining: time.Millisecond, Holder: "host 1: the holder", Muted: true},
		},
		{
			busy(int64(77), int64(1), int64(0), int64(0), int64(12), int64(1), ours),
			lua.Acquired{Status: lua.Busy, Token: 77, Remaining: time.Millisecond, Holder: "host 1: the holder", Muted: true, More: true},
		},
	} {
		if got, err := answered(c.reply).Acquired(); err != nil || got != c.want {
			t.Errorf("%v decoded as %+v, %v; want %+v", c.reply, got, err, c.want)
		}
	}
}

func TestDecodeReleased(t *testing.T) {
	for reply, want := range map[int64]lua.Released{
		0:  {},
		1:  {Held: true},
		2:  {Taken: true},
		4:  {More: true},
		5:  {Held: true, More: true},
		6:  {Taken: true, More: true},
		8:  {Muted: true},
		9:  {Held: true, Muted: true},
		10: {Taken: true, Muted: true},
		13: {Held: true, More: true, Muted: true},
	} {
		if got, err := answered(reply).Released(); err != nil || got != want {
			t.Errorf("%d decoded as %+v, %v; want %+v", reply, got, err, want)
		}
	}
}

// What no script of this version says is never taken for something that one
// does say.
func TestDecodeRefuses(t *testing.T) {
	n := int64(1)
	neither := []any{
		nil, "", "1", "OK", 1.5, true, false, int64(-1), int64(math.MinInt64), 1, uint8(1),
		errors.New("x"),
		map[any]any{},
		struct{}{},
		[]any{},
		[]any{n},
		[]any{n, n, n, n, n, n},
		[]any{n, n, n, n, n, n, "v", n},
		[]any{nil, n, n, n, n, n, "v"},
		[]any{n, "1", n, n, n, n, "v"},
		[]any{n, n, n, n, n, 1.0, "v"},
	}
	refuse := func(reply any, err error) {
		t.Helper()
		if err == nil || lua.FailureOf(err) != lua.Lasting {
			t.Errorf("%v: %v, want an error that lasts", reply, err)
		}
	}
	for _, reply := range neither {
		_, err := answered(reply).Acquired()
		refuse(reply, err)
		_, err = answered(reply).Released()
		refuse(reply, err)
	}
	for _, reply := range []any{int64(3), int64(7), int64(15), int64(16), int64(math.MaxInt64), []any{n, n, n, n, n, n, "v"}} {
		_, err := answered(reply).Released()
		refuse(reply, err)
	}
}

// A long reply is not repeated whole in an error.
func TestRefusalIsShort(t *testing.T) {
	_, err := answered(strings.Repeat("x", 1<<20)).Acquired()
	if err == nil || len(err.Error()) > 300 || !strings.Contains(err.Error(), "mutex_acquire") {
		t.Fatalf("%.500v", err)
	}
}

func TestDecodePassesErrorsOn(t *testing.T) {
	want := replyError("OOM command not allowed")
	c := lua.NewCall(lua.MutexAcquire, []any{"k"})
	c.SetErr(want)
	if a, err := c.Acquired(); !errors.Is(err, want) || a != (lua.Acquired{}) {
		t.Errorf("%+v, %v", a, err)
	}
	if r, err := c.Released(); !errors.Is(err, want) || r != (lua.Released{}) {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestParseWakeUp(t *testing.T) {
	for text, want := range map[string]lua.WakeUp{
		"id 77 0":                   {ID: "id", Token: 77},
		"id 77 1":                   {ID: "id", Token: 77, More: true},
		"id 0 0":                    {ID: "id"},
		"c:1 9223372036854775807 0": {ID: "c:1", Token: math.MaxInt64},
	} {
		if got, ok := lua.ParseWakeUp(text); !ok || got != want {
			t.Errorf("%q is %+v, %v; want %+v", text, got, ok, want)
		}
	}
	for _, text := range []string{
		"", " ", "  ", "id", "id 77", "id 77 ", "id 77 2", "id 77 00", "id 77 0 ", "id 77 0 0", " id 77 0",
		"id  0", " 77 0", "id -9223372036854775808 0", "id --1 0", "id x 0", "id 1e3 0", "id 0x1 0", "id 9223372036854775808 0", "id 77 true", "id\t77 0",
	} {
		if got, ok := lua.ParseWakeUp(text); ok || got != (lua.WakeUp{}) {
			t.Errorf("%q is %+v, %v; want it refused", text, got, ok)
		}
	}
}

func TestDecodeInspected(t *testing.T) {
	row := func(values ...any) any { return values }
	got, err := answered([]any{
		int64(77), int64(3), int64(2), int64(1),
		[]any{row("id request", int64(1500), int64(77), int64(3)), row("another's", int64(-1), int64(0), int64(1))},
		[]any{row("other request", int64(2500), int64(40)), row("dead request", int64(9), int64(0))},
	}).Inspected()
	want := lua.Inspection{
		Token: 77, Used: 3, Holders: 2, Waiters: 1,
		Holding: []lua.Holding{
			{Text: "id request", Remaining: 1500 * time.Millisecond, Token: 77, Weight: 3},
			{Text: "another's", Weight: 1},
		},
		Waiting: []lua.Waiting{
			{Text: "other request", Waiting: 2500 * time.Microsecond, Alive: true},
			{Text: "dead request", Waiting: 9 * time.Microsecond},
		},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	none := []any{}
	for _, reply := range []any{
		nil, int64(0), "", none,
		[]any{int64(1), int64(1), int64(1), int64(1), none},
		[]any{int64(1), int64(1), int64(1), "1", none, none},
		[]any{int64(1), int64(1), int64(1), int64(1), none, int64(1)},
		[]any{int64(1), int64(1), int64(1), int64(1), []any{"id"}, none},
		[]any{int64(1), int64(1), int64(1), int64(1), []any{row("id", int64(1), int64(1))}, none},
		[]any{int64(1), int64(1), int64(1), int64(1), []any{row(int64(1), int64(1), int64(1), int64(1))}, none},
		[]any{int64(1), int64(1), int64(1), int64(1), none, []any{row("id", int64(1), "1")}},
	} {
		if got, err := answered(reply).Inspected(); err == nil || lua.FailureOf(err) != lua.Lasting || !reflect.DeepEqual(got, lua.Inspection{}) {
			t.Errorf("%v is %+v, %v", reply, got, err)
		}
	}
}

func FuzzParseWakeUp(f *testing.F) {
	for _, seed := range []string{"id 77 0", "id 0 1", "", " ", "a b c", "id 77 0\n", "id +7 0", "\xff 1 1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		w, ok := lua.ParseWakeUp(text)
		if !ok {
			if w != (lua.WakeUp{}) {
				t.Fatalf("refused, yet %+v", w)
			}
			return
		}
		if w.ID == "" || -w.Token == w.Token && w.Token != 0 || strings.Contains(w.ID, " ") {
			t.Fatalf("%q is %+v", text, w)
		}
		more := "0"
		if w.More {
			more = "1"
		}
		plain := w.ID + " " + strconv.FormatInt(w.Token, 10) + " " + more
		if again, ok := lua.ParseWakeUp(plain); !ok || again != w {
			t.Fatalf("%q is %+v, written out it is %+v", text, w, again)
		}
	})
}

// FuzzDecode builds replies of any shape: each byte of shape is one value.
func FuzzDecode(f *testing.F) {
	f.Add("nnnnnns", int64(1), "id 1 30000 inbox holder", true)
	f.Add("nnnnnn0", int64(-2), "", true)
	f.Add("n", int64(15), "", false)
	f.Add("n", int64(-1), "", false)
	f.Add("s", int64(0), "OK", false)
	f.Add("", int64(0), "", false)
	f.Add("nnnnnnl", int64(math.MaxInt64), "x", true)
	f.Add("nnnnsns", int64(4), "x", true)
	f.Add("nnnnll", int64(4), "x", true)
	f.Fuzz(func(t *testing.T, shape string, number int64, text string, list bool) {
		var values []any
		for i, kind := range []byte(shape[:min(len(shape), 20)]) {
			switch kind {
			case 'n':
				values = append(values, number+int64(i))
			case 's':
				values = append(values, text)
			case 'l':
				values = append(values, slices.Clone(values))
			case 'e':
				values = append(values, errors.New(text))
			case 'f':
				values = append(values, float64(number))
			case 'b':
				values = append(values, number > 0)
			default:
				values = append(values, nil)
			}
		}
		var reply any = values
		if !list {
			reply = nil
			if len(values) > 0 {
				reply = values[0]
			}
		}
		a, err := answered(reply).Acquired()
		if err != nil {
			if lua.FailureOf(err) != lua.Lasting || a != (lua.Acquired{}) {
				t.Fatalf("%v is %+v, %v", reply, a, err)
			}
		} else if (a.Status == lua.Yours) != (a.Token > 0 && !list) && !list {
			t.Fatalf("%v is %+v", reply, a)
		}
		r, err := answered(reply).Released()
		if err != nil {
			if lua.FailureOf(err) != lua.Lasting || r != (lua.Released{}) {
				t.Fatalf("%v is %+v, %v", reply, r, err)
			}
		} else if r.Held && r.Taken {
			t.Fatalf("%v is %+v", reply, r)
		}
		in, err := answered(reply).Inspected()
		if err != nil && (lua.FailureOf(err) != lua.Lasting || !reflect.DeepEqual(in, lua.Inspection{})) {
			t.Fatalf("%v is %+v, %v", reply, in, err)
		}
	})
}
