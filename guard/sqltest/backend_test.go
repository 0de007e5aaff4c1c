// Package sqltest tests the SQL of package guard on databases. It is a module of
// its own, so that their drivers stay out of what users of Holdfast download.
//
// SQLite is always tested. A Postgres or a MySQL is tested too where the environment
// names one, with tables that begin with "guard_test_":
//
//	HOLDFAST_TEST_POSTGRES='postgres://user@localhost/test?sslmode=disable'
//	HOLDFAST_TEST_MYSQL='user@tcp(localhost)/test'
package sqltest

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	_ "github.com/go-sql-driver/mysql" // drivers
	_ "github.com/lib/pq"
	"go.uber.org/goleak"
	_ "modernc.org/sqlite"

	"github.com/holdfast-go/holdfast/guard"
)

func TestMain(m *testing.M) {
	for name, value := range map[string]string{
		"rapid.checks":     "30", // each with a database
		"rapid.nofailfile": "true",
	} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

// backend is one database with a table that has two rows: 1 and 2.
type backend struct {
	*sql.DB
	accounts guard.Table
	fences   guard.Table
}

var tables atomic.Int64

// backends runs a test on each database, and on MySQL with both ways to count rows.
func backends(t *testing.T, test func(t *testing.T, b *backend)) {
	t.Helper()
	run := func(name string, dialect guard.Dialect, driver, source string) {
		t.Run(name, func(t *testing.T) {
			db, err := sql.Open(driver, source)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			})
			test(t, newBackend(t, db, dialect))
		})
	}
	file := filepath.Join(t.TempDir(), "test.db")
	run("sqlite", guard.SQLite, "sqlite", "file:"+file+"?_pragma=busy_timeout(20000)&_pragma=journal_mode(wal)&_pragma=synchronous(off)")
	if source := os.Getenv("HOLDFAST_TEST_POSTGRES"); source != "" {
		run("postgres", guard.Postgres, "postgres", source)
	}
	if source := os.Getenv("HOLDFAST_TEST_MYSQL"); source != "" {
		run("mysql", guard.MySQL, "mysql", source+"?clientFoundRows=false")
		run("mysql found rows", guard.MySQL, "mysql", source+"?clientFoundRows=true")
	}
}

// newBackend makes tables as their owner had them before there was a guard, and adds
// the guard's column.
func newBackend(t *testing.T, db *sql.DB, dialect guard.Dialect) *backend {
	t.Helper()
	suffix := fmt.Sprintf("%d_%d", os.Getpid(), tables.Add(1))
	b := &backend{
		DB:       db,
		accounts: guard.Table{Dialect: dialect, Name: "guard_test_accounts_" + suffix},
		fences:   guard.Table{Dialect: dialect, Name: "guard_test_fences_" + suffix, Key: "resource"},
	}
	column, err := b.accounts.ColumnSQL()
	if err != nil {
		t.Fatal(err)
	}
	b.run(t, "CREATE TABLE "+b.accounts.Name+" (id BIGINT PRIMARY KEY, balance BIGINT NOT NULL DEFAULT 0, state VARCHAR(50) NOT NULL DEFAULT '')")
	t.Cleanup(func() { b.drop(t, b.accounts.Name) })
	b.run(t, "INSERT INTO "+b.accounts.Name+" (id, balance) VALUES (1, 100), (2, 200)")
	b.run(t, column)
	b.run(t, "CREATE TABLE "+b.fences.Name+" (resource VARCHAR(200) PRIMARY KEY, last_token BIGINT NOT NULL)")
	t.Cleanup(func() { b.drop(t, b.fences.Name) })
	return b
}

func (b *backend) run(t *testing.T, query string, args ...any) {
	t.Helper()
	if _, err := b.ExecContext(t.Context(), b.rebind(query), args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func (b *backend) drop(t *testing.T, table string) {
	t.Helper()
	if _, err := b.ExecContext(context.WithoutCancel(t.Context()), "DROP TABLE "+table); err != nil {
		t.Error(err)
	}
}

// rebind writes the placeholders of the dialect for "?".
func (b *backend) rebind(query string) string {
	if b.accounts.Dialect != guard.Postgres {
		return query
	}
	for n := 1; strings.Contains(query, "?"); n++ {
		query = strings.Replace(query, "?", fmt.Sprintf("$%d", n), 1)
	}
	return query
}

// row is what an account comes to.
type row struct {
	balance int64
	state   string
	token   int64
}

// account reads a row; there is one if exists.
func (b *backend) account(ctx context.Context, t fataler, id int64) (r row, exists bool) {
	t.Helper()
	err := b.QueryRowContext(ctx, b.rebind("SELECT balance, state, last_token FROM "+b.accounts.Name+" WHERE id = ?"), id).
		Scan(&r.balance, &r.state, &r.token)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		t.Fatal(err)
	}
	return r, err == nil
}

// fataler is what helpers need of a test: rapid's tests are none of testing's.
type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// want compares an account.
func (b *backend) want(t *testing.T, id int64, want row) {
	t.Helper()
	if got, exists := b.account(t.Context(), t, id); !exists || got != want {
		t.Fatalf("account %d is %+v (%v), want %+v", id, got, exists, want)
	}
}

func wantStale(t fataler, err error, token, highest int64) {
	t.Helper()
	var stale *guard.StaleError
	if !errors.Is(err, guard.ErrStale) || !errors.As(err, &stale) || stale.Token != token || stale.Highest != highest {
		t.Fatalf("%v, want the refusal of %d below %d", err, token, highest)
	}
}

func wantNoRow(t fataler, err error) {
	t.Helper()
	if !errors.Is(err, sql.ErrNoRows) || errors.Is(err, guard.ErrStale) {
		t.Fatalf("%v, want sql.ErrNoRows", err)
	}
}
