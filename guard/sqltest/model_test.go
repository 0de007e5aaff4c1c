package sqltest

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/holdfast-go/holdfast/guard"
)

// TestModel compares the table with a plain map: the highest token wins, what is
// refused writes nothing, and why is told.
func TestModel(t *testing.T) {
	backends(t, func(t *testing.T, b *backend) {
		rapid.Check(t, func(rt *rapid.T) {
			for _, table := range []string{b.accounts.Name, b.fences.Name} {
				if _, err := b.ExecContext(rt.Context(), "DELETE FROM "+table); err != nil {
					rt.Fatal(err)
				}
			}
			compare(rt, b)
		})
	})
}

func compare(rt *rapid.T, b *backend) {
	rows := map[int64]row{}
	draw := func(rt *rapid.T) (id, offered int64, set guard.Set) {
		id = rapid.Int64Range(1, 3).Draw(rt, "id")
		last := rows[id].token
		near := rapid.Int64Range(max(1, last-2), min(1<<53-1, last+2))
		offered = rapid.OneOf(near, rapid.Int64Range(1, 20), rapid.Int64Range(1, 1<<53-1)).Draw(rt, "token")
		set = guard.Set{}
		if rapid.Bool().Draw(rt, "sets the balance") {
			set["balance"] = rapid.Int64Range(0, 3).Draw(rt, "balance")
		}
		if rapid.Bool().Draw(rt, "sets the state") {
			set["state"] = rapid.SampledFrom([]string{"", "a", "it's"}).Draw(rt, "state")
		}
		return id, offered, set
	}
	// apply is the model.
	apply := func(rt *rapid.T, err error, insert bool, id, offered int64, set guard.Set) {
		r, exists := rows[id]
		switch {
		case !exists && !insert:
			wantNoRow(rt, err)
			return
		case offered < r.token:
			wantStale(rt, err, offered, r.token)
			return
		case err != nil:
			rt.Fatal(err)
		}
		r.token = offered
		if balance, ok := set["balance"].(int64); ok {
			r.balance = balance
		}
		if state, ok := set["state"].(string); ok {
			r.state = state
		}
		rows[id] = r
	}
	rt.Repeat(map[string]func(*rapid.T){
		"check": func(rt *rapid.T) {
			id, offered, _ := draw(rt)
			apply(rt, b.accounts.Check(rt.Context(), b, offered, id), false, id, offered, nil)
		},
		"update": func(rt *rapid.T) {
			id, offered, set := draw(rt)
			apply(rt, b.accounts.Update(rt.Context(), b, offered, id, set), false, id, offered, set)
		},
		"upsert": func(rt *rapid.T) {
			id, offered, set := draw(rt)
			apply(rt, b.accounts.Upsert(rt.Context(), b, offered, id, set), true, id, offered, set)
		},
		"rolled back": func(rt *rapid.T) {
			id, offered, set := draw(rt)
			tx, err := b.BeginTx(rt.Context(), nil)
			if err != nil {
				rt.Fatal(err)
			}
			err = b.accounts.Upsert(rt.Context(), tx, offered, id, set)
			if err != nil && !errors.Is(err, guard.ErrStale) {
				rt.Error(err)
			}
			if err := tx.Rollback(); err != nil {
				rt.Fatal(err)
			}
		},
		"delete": func(rt *rapid.T) {
			id, _, _ := draw(rt)
			if _, err := b.ExecContext(rt.Context(), b.rebind("DELETE FROM "+b.accounts.Name+" WHERE id = ?"), id); err != nil {
				rt.Fatal(err)
			}
			delete(rows, id)
		},
		"": func(rt *rapid.T) {
			for id := range int64(3) {
				got, exists := b.account(rt.Context(), rt, id+1)
				want, there := rows[id+1]
				if got != want || exists != there {
					rt.Fatalf("account %d is %+v (%v), want %+v (%v)", id+1, got, exists, want, there)
				}
			}
		},
	})
}
