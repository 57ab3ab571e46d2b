package engine

import (
	"context"
	"fmt"
	"time"

	"tweetledger/internal/sqldb"
	"tweetledger/ledger"
)

const periodColumns = "id, fiscal_year, starts_on, ends_on, status"

func scanPeriod(rows *sqldb.Rows) (ledger.Period, error) {
	var p ledger.Period
	err := rows.Scan(&p.ID, &p.FiscalYear, &p.From, &p.To, &p.Status)
	return p, err
}

// storedClosedPeriods returns the periods that are not open. There are twelve of a
// year at most.
func storedClosedPeriods(ctx context.Context, tx *sqldb.Tx) ([]ledger.Period, error) {
	return sqldb.Collect(ctx, tx, "SELECT "+periodColumns+" FROM periods WHERE status <> 'open' ORDER BY starts_on", nil, scanPeriod)
}

// closedPeriods returns the days that are not open, as periods in the order of
// time. A closed period closes all that is before it as far, also months that
// nobody closed since they had no postings: what was posted there would change what
// stood on every account when the period was closed, and what the next year opened
// with. So each begins where the one before ends, the first with MinEffectiveDate.
func closedPeriods(ctx context.Context, tx *sqldb.Tx) ([]ledger.Period, error) {
	list, err := storedClosedPeriods(ctx, tx)
	from := ledger.MinEffectiveDate
	for i := range list {
		list[i].From, from = from, list[i].To.AddDays(1)
	}
	hard := false
	for i := len(list) - 1; i >= 0; i-- {
		if hard = hard || list[i].Status == ledger.PeriodHardClosed; hard {
			list[i].Status = ledger.PeriodHardClosed
		}
	}
	return list, err
}

// FiscalYear returns the fiscal year that begins in a calendar year, or
// CodeInvalid where not all of it can be posted to.
func (e *Engine) FiscalYear(year int) (ledger.FiscalYear, error) {
	first, last := ledger.MinEffectiveDate.Year, ledger.MaxEffectiveDate.Year-1 // one that begins in the last year may end after it
	if year < first || year > last {
		return ledger.FiscalYear{}, ledger.Errorf(ledger.CodeInvalid, "%d is not a fiscal year; write the year in which it begins, from %d to %d",
			year, first, last).InField("year")
	}
	return ledger.FiscalYearOf(ledger.Date{Year: year, Month: e.starts, Day: 1}, e.starts), nil
}

// FiscalYearOf returns the fiscal year that d is in.
func (e *Engine) FiscalYearOf(d ledger.Date) ledger.FiscalYear {
	return ledger.FiscalYearOf(d, e.starts)
}

// ListPeriods returns the twelve periods of a fiscal year, as they are.
func (e *Engine) ListPeriods(ctx context.Context, tx *sqldb.Tx, year ledger.FiscalYear) ([]ledger.Period, error) {
	stored := map[string]ledger.Period{}
	err := tx.Each(ctx, "SELECT "+periodColumns+" FROM periods WHERE starts_on >= $1 AND starts_on <= $2", []any{year.From, year.To},
		func(rows *sqldb.Rows) error {
			p, err := scanPeriod(rows)
			stored[p.ID] = p
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("list the periods of the fiscal year %d: %w", year.Year, err)
	}
	var list []ledger.Period
	for d := year.From; !year.To.Before(d); {
		p := ledger.PeriodOf(d, e.starts)
		d = p.To.AddDays(1)
		if known, ok := stored[p.ID]; ok {
			p = known
		}
		list = append(list, p)
	}
	return list, nil
}

// FindPeriod returns a period as it is; one that nobody ever closed is open. An id
// that is none is CodeInvalid.
func (e *Engine) FindPeriod(ctx context.Context, tx *sqldb.Tx, id string) (ledger.Period, error) {
	p, err := ledger.ParsePeriod(id, e.starts)
	if err != nil {
		return ledger.Period{}, err
	}
	found, err := sqldb.Collect(ctx, tx, "SELECT "+periodColumns+" FROM periods WHERE id = $1", []any{id}, scanPeriod)
	if err != nil {
		return ledger.Period{}, fmt.Errorf("find period %s: %w", id, err)
	}
	if len(found) == 1 {
		p = found[0]
	}
	return p, nil
}

// EffectiveState is the state in which a period takes postings, and the later
// period that put it there: a closed one closes all that is before it as far. With
// is "" where the state is the period's own.
type EffectiveState struct {
	Status ledger.PeriodStatus
	With   string
}

// EffectiveStates returns the states of periods as posting finds them, in their order.
func EffectiveStates(ctx context.Context, tx *sqldb.Tx, periods []ledger.Period) ([]EffectiveState, error) {
	closed, err := storedClosedPeriods(ctx, tx)
	if err != nil {
		return nil, fmt.Errorf("read the closed periods: %w", err)
	}
	states := make([]EffectiveState, len(periods))
	for i, p := range periods {
		states[i].Status = p.Status
		for _, later := range closed {
			further := later.Status == ledger.PeriodHardClosed || states[i].Status == ledger.PeriodOpen
			if p.From.Before(later.From) && further && states[i].Status != ledger.PeriodHardClosed {
				states[i] = EffectiveState{Status: later.Status, With: later.ID}
			}
		}
	}
	return states, nil
}

const changeColumns = "period_id, from_status, to_status, changed_by, COALESCE(approved_by, ''), COALESCE(reason, ''), changed_at"

func scanChange(rows *sqldb.Rows) (ledger.PeriodChange, error) {
	var c ledger.PeriodChange
	err := rows.Scan(&c.Period, &c.From, &c.To, &c.By, &c.ApprovedBy, &c.Reason, &c.At)
	return c, err
}

// PeriodChanges returns how a period came to be as it is, the first change first:
// at most MaxPage of them.
func PeriodChanges(ctx context.Context, tx *sqldb.Tx, id string) ([]ledger.PeriodChange, error) {
	list, err := sqldb.Collect(ctx, tx, fmt.Sprintf("SELECT %s FROM period_changes WHERE period_id = $1 ORDER BY ordinal LIMIT %d", changeColumns, MaxPage),
		[]any{id}, scanChange)
	if err != nil {
		return nil, fmt.Errorf("read the changes of period %s: %w", id, err)
	}
	return list, nil
}

// Check is what a caller of ChangePeriod asks besides what the engine asks before
// a period is closed: its error keeps the period as it is. It runs before the
// closing and again inside its transaction, which may run more than once.
type Check func(ctx context.Context, tx *sqldb.Tx, p ledger.Period) error

// ChangePeriod closes a period, softly or hard, or opens it again, and keeps in its
// trace who did so. A zero From is the state that the period has, a zero At is now.
//
// A period is closed after its last day, once all of it is sealed and the earlier
// periods that have postings are closed at least as far; and hard, once the fiscal
// years before that have postings are closed and Verify finds no difference. The
// last period of a fiscal year is hard-closed with the year (CloseFiscalYear). A
// period is opened again once the later ones are open.
//
// Refusals are a *ledger.Error: CodeConflict where the book is not ready, or the
// period is not in the state From; otherwise as of PeriodChange.Validate. Posting
// and closing are serializable: what is under way in the meantime is in the
// period before it is closed, or refused.
func (e *Engine) ChangePeriod(ctx context.Context, c ledger.PeriodChange, checks ...Check) (ledger.PeriodChange, error) {
	if c.At.IsZero() {
		c.At = e.Now()
	}
	if err := e.KeepSettings(ctx); err != nil {
		return ledger.PeriodChange{}, err
	}
	c.At = c.At.UTC().Truncate(time.Microsecond)
	step := periodStep{engine: e, checks: checks}
	err := e.db.Read(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		p, err := e.FindPeriod(ctx, tx, c.Period)
		if err != nil {
			return err
		}
		step.change = c
		if err := step.accepts(ctx, tx, p); err != nil {
			return err
		}
		return step.isReady(ctx, tx, p)
	})
	if err != nil {
		return ledger.PeriodChange{}, asLedgerError(err)
	}
	if step.change.To == ledger.PeriodHardClosed {
		if err := e.verifies(ctx); err != nil { // too long for a transaction that others wait for
			return ledger.PeriodChange{}, err
		}
	}
	if err := e.db.Read(ctx, step.runChecks); err != nil {
		return ledger.PeriodChange{}, asLedgerError(err)
	}
	if err := e.writeAmongPosters(ctx, step.run); err != nil {
		return ledger.PeriodChange{}, asLedgerError(err)
	}
	return step.change, nil
}

// maxContended bounds how often the change of a period, which every posting reads
// and which reads what every posting writes, is tried with all its retries: nine
// in ten come through at once beside four engines that post without a pause.
const maxContended = 8

// writeAmongPosters is WriteIdempotent, with more patience.
func (e *Engine) writeAmongPosters(ctx context.Context, fn func(ctx context.Context, tx *sqldb.Tx) error) error {
	for n := 1; ; n++ {
		err := e.db.WriteIdempotent(ctx, fn)
		if sqldb.ClassOf(err) != sqldb.ClassSerialization || n == maxContended || ctx.Err() != nil {
			return err
		}
	}
}

// verifies refuses with CodeConflict where the book does not verify.
func (e *Engine) verifies(ctx context.Context) error {
	report, err := e.Verify(ctx, nil)
	if err != nil {
		return err
	}
	if !report.OK() {
		return ledger.Errorf(ledger.CodeConflict, "the book does not verify, so no period of it is hard-closed; the first difference: %s; see all with: tweetledger verify",
			report.Differences[0])
	}
	return nil
}

// periodStep is one change of a period.
type periodStep struct {
	engine *Engine
	change ledger.PeriodChange
	checks []Check
	// withYear is set where the fiscal year is closed with its last period.
	withYear bool
}

// run makes the change in tx.
func (s *periodStep) run(ctx context.Context, tx *sqldb.Tx) error {
	p, err := s.engine.FindPeriod(ctx, tx, s.change.Period)
	if err != nil {
		return err
	}
	made, err := s.madeBefore(ctx, tx)
	if err != nil || made {
		return err
	}
	if err := s.accepts(ctx, tx, p); err != nil {
		return err
	}
	if err := s.isReady(ctx, tx, p); err != nil {
		return err
	}
	if err := s.runChecks(ctx, tx); err != nil {
		return err
	}
	if err := storeChange(ctx, tx, p, s.change); err != nil {
		return err
	}
	if s.change.From == ledger.PeriodHardClosed {
		return dropOpeningBalances(ctx, tx, p.FiscalYear+1) // there are none but of a closed year
	}
	return nil
}

// madeBefore reports whether the last change of the period is this one: its
// commit was in doubt, and had happened.
func (s *periodStep) madeBefore(ctx context.Context, tx *sqldb.Tx) (bool, error) {
	last, err := lastChange(ctx, tx, s.change.Period)
	return err == nil && last == s.change, err
}

func (s *periodStep) isYearEnd(p ledger.Period) bool {
	return ledger.FiscalYearOf(p.To.AddDays(1), s.engine.starts).Year != p.FiscalYear
}

// accepts checks the change against the state that the period has.
func (s *periodStep) accepts(ctx context.Context, tx *sqldb.Tx, p ledger.Period) error {
	c := &s.change
	if want := ledger.FiscalYearOf(p.From, s.engine.starts).Year; p.FiscalYear != want {
		return ledger.Errorf(ledger.CodeConflict, "the book has period %s in the fiscal year %d, but with fiscal years that begin in %s it is in %d; run: tweetledger verify",
			p.ID, p.FiscalYear, s.engine.starts, want)
	}
	if c.To == p.Status {
		last, err := lastChange(ctx, tx, p.ID)
		if err != nil {
			return err
		}
		if last.By == "" {
			return ledger.Errorf(ledger.CodeConflict, "period %s is open; nobody ever closed it", p.ID).InField("period")
		}
		return ledger.Errorf(ledger.CodeConflict, "period %s is %s already: %s did it at %s", p.ID, inWords(p.Status), last.By,
			last.At.Format(time.RFC3339)).InField("period")
	}
	if c.From == "" {
		c.From = p.Status
	}
	if c.From != p.Status {
		return ledger.Errorf(ledger.CodeConflict, "period %s is %s, not %s; look at it again with: tweetledger period show %s",
			p.ID, inWords(p.Status), inWords(c.From), p.ID).InField("period")
	}
	return c.Validate()
}

func inWords(s ledger.PeriodStatus) string {
	switch s {
	case ledger.PeriodSoftClosed:
		return "soft-closed"
	case ledger.PeriodHardClosed:
		return "hard-closed"
	}
	return string(s)
}

// isReady checks the book: that it allows to close the period, or to open it.
func (s *periodStep) isReady(ctx context.Context, tx *sqldb.Tx, p ledger.Period) error {
	e := s.engine
	if s.change.Reopens() {
		return laterAreOpen(ctx, tx, p)
	}
	if today := e.Today(); !p.To.Before(today) {
		return ledger.Errorf(ledger.CodeConflict, "period %s is not over; close it after %s", p.ID, p.To).InField("period")
	}
	if s.change.To == ledger.PeriodHardClosed && s.isYearEnd(p) && !s.withYear {
		return ledger.Errorf(ledger.CodeConflict, "period %s is the last of its fiscal year, with which it is hard-closed; run: tweetledger year close %d",
			p.ID, p.FiscalYear).InField("period")
	}
	if s.change.To == ledger.PeriodHardClosed {
		if err := e.yearBeforeIsClosed(ctx, tx, e.FiscalYearOf(p.From)); err != nil {
			return err
		}
	}
	if err := isSealed(ctx, tx, p); err != nil {
		return err
	}
	return e.earlierAreClosed(ctx, tx, p, s.change.To)
}

// runChecks runs what the caller asks of a period that is closed.
func (s *periodStep) runChecks(ctx context.Context, tx *sqldb.Tx) error {
	if s.change.Reopens() {
		return nil
	}
	p, err := s.engine.FindPeriod(ctx, tx, s.change.Period)
	if err != nil {
		return err
	}
	for _, check := range s.checks {
		if err := check(ctx, tx, p); err != nil {
			return err
		}
	}
	return nil
}

// isSealed refuses while pages of the period, or from before it, wait for the
// sealer, which seals nothing that is closed.
func isSealed(ctx context.Context, tx *sqldb.Tx, p ledger.Period) error {
	var waiting int64
	err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM unsealed_pages WHERE page_id < $1",
		[]any{firstPage(p.To.AddDays(1))}, &waiting)
	if err != nil {
		return fmt.Errorf("look for unsealed pages of period %s: %w", p.ID, err)
	}
	if waiting > 0 {
		return ledger.Errorf(ledger.CodeConflict, "period %s is not sealed yet (pages of its journal that wait: %d); run: tweetledger seal run",
			p.ID, waiting).InField("period")
	}
	return nil
}

// earlierAreClosed refuses while an earlier period that has postings is not closed
// at least as far as status. It looks at one page of each such period.
func (e *Engine) earlierAreClosed(ctx context.Context, tx *sqldb.Tx, p ledger.Period, status ledger.PeriodStatus) error {
	closed, err := storedClosedPeriods(ctx, tx)
	if err != nil {
		return fmt.Errorf("read the periods before %s: %w", p.ID, err)
	}
	statuses := make(map[string]ledger.PeriodStatus, len(closed))
	for _, c := range closed {
		statuses[c.ID] = c.Status
	}
	for next, end := int64(0), firstPage(p.From); ; {
		var page int64
		err := tx.QueryRow(ctx, "SELECT id FROM pages WHERE id >= $1 AND id < $2 ORDER BY id LIMIT 1", []any{next, end}, &page)
		if sqldb.IsNoRows(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("look for postings before period %s: %w", p.ID, err)
		}
		earlier := ledger.PeriodOf(firstDay.AddDays(int(page>>slotBits)), e.starts)
		if s := statuses[earlier.ID]; s != ledger.PeriodHardClosed && s != status {
			if s == "" {
				s = ledger.PeriodOpen
			}
			return ledger.Errorf(ledger.CodeConflict, "the earlier period %s has postings and is %s; first make it %s", earlier.ID, inWords(s), inWords(status))
		}
		next = firstPage(earlier.To.AddDays(1))
	}
}

// yearBeforeIsClosed refuses while the last fiscal year before this one that has
// postings is not closed: its result would come into this one's, and its closing
// entries would lie before a period that is hard-closed. Where its last period has
// no postings, nothing else asks for it.
func (e *Engine) yearBeforeIsClosed(ctx context.Context, tx *sqldb.Tx, year ledger.FiscalYear) error {
	var page int64
	err := tx.QueryRow(ctx, "SELECT id FROM pages WHERE id < $1 ORDER BY id DESC LIMIT 1", []any{firstPage(year.From)}, &page)
	if sqldb.IsNoRows(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for postings before the fiscal year %d: %w", year.Year, err)
	}
	before := ledger.FiscalYearOf(firstDay.AddDays(int(page>>slotBits)), e.starts)
	last, err := e.FindPeriod(ctx, tx, ledger.PeriodOf(before.To, e.starts).ID)
	if err != nil {
		return err
	}
	if last.Status != ledger.PeriodHardClosed {
		return ledger.Errorf(ledger.CodeConflict, "the fiscal year %d has postings and is not closed; first run: tweetledger year close %d", before.Year, before.Year)
	}
	return nil
}

// laterAreOpen refuses while a later period is closed.
func laterAreOpen(ctx context.Context, tx *sqldb.Tx, p ledger.Period) error {
	closed, err := storedClosedPeriods(ctx, tx)
	if err != nil {
		return fmt.Errorf("read the periods after %s: %w", p.ID, err)
	}
	if len(closed) == 0 {
		return nil
	}
	if last := closed[len(closed)-1]; p.From.Before(last.From) {
		return ledger.Errorf(ledger.CodeConflict, "the later period %s is %s; open that one first, or post the correction with a date in a period that is open",
			last.ID, inWords(last.Status))
	}
	return nil
}

// lastChange returns the newest change of a period, or the zero one.
func lastChange(ctx context.Context, tx *sqldb.Tx, id string) (ledger.PeriodChange, error) {
	list, err := sqldb.Collect(ctx, tx, "SELECT "+changeColumns+" FROM period_changes WHERE period_id = $1 ORDER BY ordinal DESC LIMIT 1", []any{id}, scanChange)
	if err != nil {
		return ledger.PeriodChange{}, fmt.Errorf("read the last change of period %s: %w", id, err)
	}
	if len(list) == 0 {
		return ledger.PeriodChange{}, nil
	}
	return list[0], nil
}

// storeChange gives the period its new state and keeps the change.
func storeChange(ctx context.Context, tx *sqldb.Tx, p ledger.Period, c ledger.PeriodChange) error {
	_, err := tx.Exec(ctx, `INSERT INTO periods (`+periodColumns+`) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE SET status = excluded.status`, p.ID, int64(p.FiscalYear), p.From, p.To, string(c.To))
	if err != nil {
		return fmt.Errorf("change period %s: %w", p.ID, err)
	}
	var before int64
	if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM period_changes WHERE period_id = $1", []any{p.ID}, &before); err != nil {
		return fmt.Errorf("count the changes of period %s: %w", p.ID, err)
	}
	_, err = tx.Exec(ctx, `INSERT INTO period_changes (period_id, ordinal, from_status, to_status, changed_by, approved_by, reason, changed_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, p.ID, before+1, string(c.From), string(c.To), c.By, sqldb.NullText(c.ApprovedBy),
		sqldb.NullText(c.Reason), c.At)
	if err != nil {
		return fmt.Errorf("keep the change of period %s: %w", p.ID, takenSince(err))
	}
	return nil
}
