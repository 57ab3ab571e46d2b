package paymentstest

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"math"
	"math/bits"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"tweetledger/adapters/card/cardsim"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
	"tweetledger/internal/sqldb/sqltest"
)

// stepsVariable asks for one run of so many steps on each engine.
const stepsVariable = "TWEETLEDGER_STEPS"

// What go test plays where nobody asked for more: all tests have five minutes. A step on
// SQLite takes ten milliseconds, on PostgreSQL thirty, on CockroachDB some hundreds.
const (
	plainRuns, plainSteps = 2, 150
	slowRuns, slowSteps   = 1, 40
)

// checkEvery is how often all of the book is compared with all of the model, and what
// has happened until then is played again.
const checkEvery = 250

// tellEvery is how often a long run says how far it is.
const tellEvery = 1000

// TestStateMachine is described in the package's documentation.
func TestStateMachine(t *testing.T) {
	sqltest.Core(t, func(t *testing.T, db *sqldb.DB) {
		most, steps := plainRuns, plainSteps
		switch db.Engine() {
		case sqldb.PostgreSQL:
			most = slowRuns
		case sqldb.CockroachDB:
			most, steps = slowRuns, slowSteps
		}
		flag.Visit(func(f *flag.Flag) {
			if f.Name == "rapid.checks" { // somebody has said how many
				most = math.MaxInt
			}
		})
		if text := os.Getenv(stepsVariable); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 {
				t.Fatalf("%s is %q; write it like 10000", stepsVariable, text)
			}
			most, steps = 1, n
		}
		w := newWorld(t, db)
		runs := 0
		rapid.Check(t, func(rt *rapid.T) {
			if runs >= most {
				return
			}
			m := newMachine(rt, w)
			for i := range steps {
				m.step(rt, i)
				if i%tellEvery == tellEvery-1 {
					t.Logf("%d steps, until %s", i+1, m.now.Format(time.DateOnly))
				}
			}
			m.finish(rt)
			runs++ // those that rapid tries to make shorter do not count
			if steps > plainSteps {
				t.Logf("%d steps until %s, of which %v; %v", steps, m.now.Format(time.DateOnly), m.counts, m.outcomes())
			}
		})
	})
}

// outcomes counts what has become of orders and charges, for whoever wants to know what
// a run has met.
func (m *machine) outcomes() map[string]int {
	counts := map[string]int{}
	for _, o := range m.orders {
		counts[fmt.Sprintf("%s (%s)", o.state, o.reason)]++
	}
	for _, u := range m.unclaimed {
		counts[fmt.Sprintf("unclaimed %s (%s)", u.state, u.reason)]++
	}
	for _, c := range m.charges {
		counts[fmt.Sprintf("charge %s, for an order %v", c.state, c.forOrder)]++
	}
	for _, e := range m.enrolments {
		counts[fmt.Sprintf("enrolment %s (%s)", e.state, e.reason)]++
	}
	return counts
}

// machine is one run, with people of its own: all runs share a book.
type machine struct {
	*world
	book
	users   []string          // ids on the channel: of customers, of strangers, and of one who is denied
	handles map[string]string // of users who are called something else than handleOf
	denied  string
	charity string // user id of whoever may turn out to be a charity
	tweets  []tweet
	said    []spoken  // that came in, in order
	late    []spoken  // that were written, and did not come yet
	made    []version // orders, in order
	pages   map[version]shown
	cards   []payments.Card
	owners  map[uuid.UUID]string // customer numbers, by card
	queue   []cardsim.Delivery
	heard   []cardsim.Delivery
	topped  []payments.ChargeRequest
	booked  []booking
	asked   []string // names of enrolments
	begun   map[string]uuid.UUID
	digits  map[string]string // the newest one-time code, by who was sent it
	older   map[string]string // the one before
	refs    map[string]bool   // of charges that were disputed: once each
	listed  map[version]bool  // what is in made
	counts  map[string]int    // of steps, by kind
	story   []string
}

// tweet is an edit chain.
type tweet struct {
	first, author string
	versions      int
}

// spoken is a version of a message, and what it says.
type spoken struct {
	payments.Message
	command command
}

func (s spoken) name() version { return version{s.FirstID, s.Version} }

// booking is a top-up under a reference.
type booking struct {
	topUp
	reference string
}

// shown is a confirmation page that a payer has open.
type shown struct {
	token, stamp string
	at           time.Time
}

// failer is what rapid's T is to whatever cannot go on.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// storyLength is how many steps a failure tells.
const storyLength = 40

func (m *machine) fail(t failer, format string, args ...any) {
	t.Helper()
	t.Fatalf("%s\n  the last steps:\n  %s", fmt.Sprintf(format, args...), strings.Join(m.story, "\n  "))
}

func (m *machine) must(t failer, err error) {
	t.Helper()
	if err != nil {
		m.fail(t, "%v", err)
	}
}

func (m *machine) tell(format string, args ...any) {
	m.story = append(m.story, fmt.Sprintf("%s: ", m.now.Format("01-02 15:04:05.000"))+fmt.Sprintf(format, args...))
	if len(m.story) > storyLength {
		m.story = slices.Delete(m.story, 0, len(m.story)-storyLength)
	}
}

// dice draws a number from 0 to n-1, each as likely as the others; rapid's own ranges
// prefer the small ones.
func dice(rt *rapid.T, what string, n int) int {
	sum := 0
	for range bits.Len(uint(n)) + 2 { // two more, so that what is left over hardly matters
		sum *= 2
		if rapid.Bool().Draw(rt, what) {
			sum++
		}
	}
	return sum % n
}

// pick draws one of a list.
func pick[T any](rt *rapid.T, what string, list []T) T {
	return list[dice(rt, what, len(list))]
}

// recent draws one of the newest of a list.
func recent[T any](rt *rapid.T, what string, list []T, most int) T {
	return list[len(list)-1-rapid.IntRange(0, min(most, len(list))-1).Draw(rt, what)]
}

func (m *machine) node(rt *rapid.T) *payments.Service { return pick(rt, "process", m.nodes) }

func (m *machine) advance(d time.Duration) {
	m.now = m.now.Add(d)
	m.clock.set(m.now)
}

// act is something that somebody does, and what the rules say to it.
type act struct {
	name string
	do   func(ctx context.Context, s *payments.Service) string
	rule func(m *model) string
	// others are rules of what makes more than one transaction, where somebody else did
	// something in between.
	others []func(m *model) string
}

// perform lets one process do something. Where the model says that nothing changes, the
// book must be as it was.
func (m *machine) perform(rt *rapid.T, a act) {
	m.tell("%s", a.name)
	m.changed, m.noted = false, false
	want := a.rule(m.model)
	still := !m.changed
	var before view
	if still {
		before = m.digest(rt)
	}
	got := a.do(m.ctx, m.node(rt))
	m.tell("  → %s", got)
	if got != want {
		m.fail(rt, "%s: the rules say %q, and the service %q", a.name, want, got)
	}
	if still {
		m.unchanged(rt, a.name, before)
	}
	m.compare(rt, false)
}

func (m *machine) digest(rt *rapid.T) (v view) {
	m.must(rt, m.db.Read(m.ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		v, err = digest(ctx, tx)
		return err
	}))
	return v
}

func (m *machine) unchanged(rt *rapid.T, what string, before view) {
	after := m.digest(rt)
	if m.noted {
		before["party_events"] = after["party_events"]
	}
	if list := differences(before, after); len(list) > 0 {
		m.fail(rt, "%s changes nothing by the rules, and has changed:\n%s", what, strings.Join(list, "\n"))
	}
}

// compare holds the book against the model.
func (m *machine) compare(rt *rapid.T, all bool) {
	if list := m.compared(rt, all); len(list) > 0 {
		m.fail(rt, "book and model differ:\n%s", strings.Join(list, "\n"))
	}
	m.remember()
	m.touched, m.changed, m.noted = map[version]bool{}, false, false
}

// remember notes which orders were made since the last step.
func (m *machine) remember() {
	var news []version
	for v := range m.touched {
		if !m.listed[v] {
			m.listed[v] = true
			news = append(news, v)
		}
	}
	slices.SortFunc(news, compareVersions)
	m.made = append(m.made, news...)
}

func compareVersions(a, b version) int {
	return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.n, b.n))
}

func (m *machine) compared(rt *rapid.T, all bool) []string {
	var inBook view
	m.must(rt, m.db.Read(m.ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
		inBook, err = m.inBook(ctx, tx, all)
		return err
	}))
	return differences(m.view(all), inBook)
}

// step is one step of a run. The first kind of it is to do nothing, which is what a
// failure's story shrinks to.
func (m *machine) step(rt *rapid.T, i int) {
	m.advance(time.Millisecond)
	kinds := m.kinds()
	k := kinds[dice(rt, "step", len(kinds))]
	m.counts[k.name]++
	k.do(rt)
	if i%checkEvery == checkEvery-1 {
		m.check(rt, 200)
	}
}

// kind is a kind of step. Those that are drawn more often stand there more often.
type kind struct {
	name string
	do   func(*rapid.T)
}

func (m *machine) kinds() []kind {
	weights := []struct {
		kind
		times int
	}{
		{kind{"nothing", func(*rapid.T) {}}, 1},
		{kind{"tweet", m.say}, 16},
		{kind{"edit", m.edit}, 4},
		{kind{"come late", m.comeLate}, 3},
		{kind{"handle the inbox", m.handleInbox}, 2},
		{kind{"delete", m.delete}, 2},
		{kind{"confirm", m.confirmOne}, 16},
		{kind{"look at pages", m.openPages}, 4},
		{kind{"cancel", m.cancelOne}, 3},
		{kind{"review", m.reviewOne}, 4},
		{kind{"sweep", m.sweep}, 4},
		{kind{"wait", m.wait}, 6},
		{kind{"link", m.linkOne}, 3},
		{kind{"status", m.statusOne}, 3},
		{kind{"top up", m.topUpOne}, 4},
		{kind{"codes", m.codeOne}, 3},
		{kind{"enrol", m.enrolOne}, 4},
		{kind{"race", m.race}, 6},
		{kind{"charge", m.chargeOne}, 4},
		{kind{"authenticate", m.authenticate}, 3},
		{kind{"dispute", m.disputeOne}, 1},
		{kind{"refund", m.refundOne}, 1},
		{kind{"webhooks", m.webhooks}, 3},
		{kind{"finish charges", m.sweepCharges}, 5},
		{kind{"break lines", m.breakLines}, 1},
		{kind{"repeat", m.repeat}, 3},
		{kind{"deliver", m.deliverAll}, 3},
	}
	var kinds []kind
	for _, w := range weights {
		for range w.times {
			kinds = append(kinds, w.kind)
		}
	}
	return kinds
}

// wait lets time go on: a moment, or to just before or after something ends, or over a
// change of the clocks or of the year.
func (m *machine) wait(rt *rapid.T) {
	d := pick(rt, "time", []time.Duration{time.Second, time.Minute, 5*time.Minute - time.Millisecond, 6 * time.Minute, 20 * time.Minute, time.Hour, 2 * time.Hour, 5 * time.Hour, 12 * time.Hour, day - time.Millisecond})
	var ends []time.Duration
	for _, o := range m.orders {
		if left := o.expires.Sub(m.now); o.state.Open() && left > 0 {
			ends = append(ends, left)
		}
	}
	for _, u := range m.unclaimed {
		if left := u.due.Sub(m.now); u.state == payments.UnclaimedWaiting && left > 0 {
			ends = append(ends, left)
		}
	}
	slices.Sort(ends) // a run that is drawn again is the same
	if len(ends) > 0 && dice(rt, "until an end", 4) == 3 {
		d = pick(rt, "end", ends) + pick(rt, "just", []time.Duration{-time.Microsecond, 0, time.Microsecond})
	}
	if left := m.nextChange().Sub(m.now); left < 2*day { // over it, and to just before and after it
		d = min(d, max(left-pick(rt, "before the change", []time.Duration{0, time.Millisecond, time.Hour}), time.Millisecond))
	}
	m.tell("wait %s", d)
	m.advance(d)
}

// nextChange is the next instant at which France's clocks change, or its year.
func (m *machine) nextChange() time.Time {
	local := m.now.In(m.zone)
	next := time.Date(local.Year()+1, time.January, 1, 0, 0, 0, 0, m.zone)
	if _, end := local.ZoneBounds(); !end.IsZero() && end.Before(next) {
		next = end
	}
	return next
}
