package guard

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// DB is what runs statements: a *sql.DB, *sql.Conn or *sql.Tx.
type DB interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Set is the columns that a statement sets, with their values.
type Set map[string]any

// Check lets token pass at the row with that key and remembers it, or refuses it.
// Call it when the work begins, before the row is read: from then on older holders
// are refused. In a transaction it also locks the row until the end, so that all of
// the transaction is guarded.
//
// It blocks until the database has answered or ctx ends, and waits for a transaction
// that has the row. The error Is [ErrStale] if a higher token was here; sql.ErrNoRows
// if there is no such row; holdfast.ErrInvalid if the token is none or the call makes
// no sense, and then nothing was sent; ctx.Err() if ctx had ended before. With all of
// these nothing was written. Any other is the database's error, wrapped; outside a
// transaction, nobody knows then whether it was done, and it may be called again.
func (t Table) Check(ctx context.Context, db DB, token int64, key any) error {
	return t.Update(ctx, db, token, key, nil)
}

// Update sets columns of the row with that key, if token passes. It blocks as
// [Table.Check] does and returns the same errors. An equal token passes.
func (t Table) Update(ctx context.Context, db DB, token int64, key any, set Set) error {
	columns, values := set.split()
	query, err := t.UpdateSQL(columns...)
	if err != nil {
		return err
	}
	count, err := t.exec(ctx, db, token, key, query, append(values, token, key, token))
	if err != nil || count > 0 {
		return err
	}
	highest, err := t.look(ctx, db, token, key)
	if err == nil && t.Dialect == MySQL && highest == token {
		// It matched, and changed nothing: what was to be written is there. (Or the
		// holder itself has inserted the row since, against its own UPDATE.)
		return nil
	}
	return t.unmatched(key, err)
}

// Upsert inserts the row with that key, or sets the columns of the one there is, if
// token passes. Without a set it marks the row, or makes one that has a key and a
// token only. The key's column must have a unique index; on MySQL, no other may.
//
// It blocks as [Table.Check] does and returns the same errors, but a missing row is
// none. On MySQL, outside a transaction, what was written can be called stale if a
// later holder writes at the same moment, and missing if the row is deleted then.
func (t Table) Upsert(ctx context.Context, db DB, token int64, key any, set Set) error {
	columns, values := set.split()
	query, err := t.UpsertSQL(columns...)
	if err != nil {
		return err
	}
	count, err := t.exec(ctx, db, token, key, query, append(append([]any{key}, values...), token))
	if err != nil {
		return err
	}
	// MySQL counts 2 for an update, and 1 for an insert; but also, with
	// clientFoundRows, 1 for a row that it left as it was.
	if count > 1 || count == 1 && t.Dialect != MySQL {
		return nil
	}
	highest, err := t.look(ctx, db, token, key)
	switch {
	case t.Dialect == MySQL && err == nil && highest == token:
		return nil
	case t.Dialect != MySQL && (err == nil || errors.Is(err, sql.ErrNoRows)):
		// The row has gone since it refused.
		filled, _ := t.filled() // it ran
		return &StaleError{Resource: filled.row(key), Token: token}
	}
	return t.unmatched(key, err)
}

// Exec runs a guarded statement of one's own on the row with that key, for what a
// [Set] cannot say. The statement itself must do both, set the token and ask for it:
//
//	accounts.Exec(ctx, db, token, 42,
//		`UPDATE accounts SET balance = balance - $1, last_token = $2
//		WHERE id = $3 AND last_token <= $2`, 10, token, 42)
//
// If it affects no row, Exec asks why: [ErrStale] if the row keeps a higher token,
// else sql.ErrNoRows: there is no row, or a condition of one's own did not hold. It
// blocks as [Table.Check] does and returns the same other errors. On MySQL it needs
// a connection with clientFoundRows, or a statement that changes nothing is taken for
// one that matched nothing.
func (t Table) Exec(ctx context.Context, db DB, token int64, key any, query string, args ...any) error {
	count, err := t.exec(ctx, db, token, key, query, args)
	if err != nil || count > 0 {
		return err
	}
	_, err = t.look(ctx, db, token, key)
	return t.unmatched(key, err)
}

// exec runs a statement and returns how many rows it affected.
func (t Table) exec(ctx context.Context, db DB, token int64, key any, query string, args []any) (int64, error) {
	filled, err := t.filled()
	if err != nil {
		return 0, err
	}
	what := filled.row(key)
	switch {
	case noDB(db):
		return 0, invalid("%s: the database is nil", what)
	case query == "":
		return 0, invalid("%s: the statement is empty", what)
	}
	if err = ready(ctx, what, token); err != nil {
		return 0, err
	}
	result, err := db.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, fmt.Errorf("guard: %s: %w", what, err)
	}
	count, err := result.RowsAffected()
	if err != nil {
		return 0, fmt.Errorf("guard: %s: rows affected: %w", what, err)
	}
	return count, nil
}

// look tells why no row was affected: with an error if the row keeps a higher token
// or there is none, else with the token that it keeps.
func (t Table) look(ctx context.Context, db DB, token int64, key any) (int64, error) {
	query, err := t.LookSQL()
	if err != nil {
		return 0, err
	}
	filled, _ := t.filled() // as just now
	var highest int64
	err = db.QueryRowContext(ctx, query, key).Scan(&highest)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return 0, fmt.Errorf("guard: %s: no such row: %w", filled.row(key), err)
	case err != nil:
		return 0, fmt.Errorf("guard: %s: asking for its token: %w", filled.row(key), err)
	case highest > token:
		return highest, &StaleError{Resource: filled.row(key), Token: token, Highest: highest}
	}
	return highest, nil
}

// unmatched is err, or what is left: the token would pass, and yet no row matched.
// The statement had a condition of its own, or the row came after it.
func (t Table) unmatched(key any, err error) error {
	if err != nil {
		return err
	}
	filled, _ := t.filled() // it ran
	return fmt.Errorf("guard: %s: nothing matched, though not for the token: %w", filled.row(key), sql.ErrNoRows)
}

// row is what errors call a row.
func (t Table) row(key any) string { return fmt.Sprintf("%s with %s = %v", t.Name, t.Key, key) }

// split gives the columns in a fixed order, so that equal sets are equal statements.
func (s Set) split() (columns []string, values []any) {
	columns = slices.Sorted(maps.Keys(s))
	for _, column := range columns {
		values = append(values, s[column])
	}
	return columns, values
}

// noDB also knows the nil pointers that an interface hides.
func noDB(db DB) bool {
	switch d := db.(type) {
	case nil:
		return true
	case *sql.DB:
		return d == nil
	case *sql.Conn:
		return d == nil
	case *sql.Tx:
		return d == nil
	default:
		return false
	}
}
