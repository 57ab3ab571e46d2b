package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"tweetledger/adapters/notify"
	"tweetledger/adapters/twitter"
	"tweetledger/adapters/twitter/xsim"
	"tweetledger/internal/console"
	"tweetledger/internal/metrics"
	"tweetledger/internal/payments"
	"tweetledger/internal/sqldb"
)

// xBook is the book of people.txtar with a simulated X beside it, and the pages.
type xBook struct {
	t         *testing.T
	clock     *handClock
	variables map[string]string
	x         *xsim.Server
	service   *payments.Service
	worker    worker
	app       *app
}

const (
	xBank  = "700000001"
	xMarie = "700000101"
	xOther = "700000111" // Marie's second account, which is linked to nobody
	xYoann = "700000102"
)

func newXBook(t *testing.T) *xBook {
	t.Helper()
	b := &xBook{t: t, clock: &handClock{now: firstMinute}}
	b.x = xsim.New(xsim.Options{Clock: b.clock.Now})
	for id, handle := range map[string]string{xBank: "SmoneyFR", xMarie: "marie_test", xOther: "marie_second", xYoann: "yoann_test"} {
		b.x.AddUser(id, handle, handle)
	}
	simulated := httptest.NewServer(b.x)
	pages := &changing{}
	page := httptest.NewServer(pages)
	t.Cleanup(func() { b.x.Close(); simulated.Close(); page.Close() })
	b.x.AddApp(xsim.App{ClientID: "client-1", ClientSecret: "secret-1", RedirectURLs: []string{page.URL + "/link/callback"}})

	dir := t.TempDir()
	config := "[service]\npage_url = \"" + page.URL + "/confirm\"\n[twitter]\napi_url = \"" + simulated.URL + "\"\nclient_id = \"client-1\"\nuser_token_file = \"bank.token\"\nauthorize_url = \"" +
		simulated.URL + "/i/oauth2/authorize\"\n[secret]\nmemory_kib = 64\niterations = 1\nparallelism = 1\nworkers = 1\n"
	b.variables = map[string]string{"TWEETLEDGER_DB": "sqlite:" + filepath.Join(dir, "book.db"), "TWEETLEDGER_KEY": testKey, "TWEETLEDGER_ACTOR": "anne",
		"TWEETLEDGER_CONFIG": filepath.Join(dir, defaultConfig), "TWEETLEDGER_X_TOKEN": b.x.AppToken(), "TWEETLEDGER_X_USER_TOKEN": b.x.UserToken(xBank),
		"TWEETLEDGER_X_CLIENT_SECRET": "secret-1"}
	if err := os.WriteFile(b.variables["TWEETLEDGER_CONFIG"], []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, s := range peopleSteps() {
		b.tell(s.in, s.args...)
	}
	b.app, b.worker = b.process()
	b.service = b.worker.service
	identifier, err := b.worker.settings.identifier(b.worker.client, b.service.Config())
	if err != nil {
		t.Fatal(err)
	}
	if pages.handler, err = console.New(b.service, identifier, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return b
}

// changing is a handler that is known only after its address is.
type changing struct{ handler http.Handler }

func (c *changing) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.handler.ServeHTTP(w, r) }

// process opens the book as one "serve" does.
func (b *xBook) process() (*app, worker) {
	b.t.Helper()
	env := steered(b.clock.Now(), strings.NewReader(""), io.Discard, io.Discard, func(name string) string { return b.variables[name] })
	env.now = b.clock.Now
	a := &app{environment: env, registry: metrics.New()}
	b.t.Cleanup(func() {
		if err := a.close(); err != nil {
			b.t.Error(err)
		}
	})
	service, s, err := a.openPayments(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	client, err := a.client(s)
	if err != nil {
		b.t.Fatal(err)
	}
	discard := slog.New(slog.DiscardHandler)
	return a, worker{service: service, client: client, settings: s, log: discard, notifier: notify.NewLog(discard), outbox: newOutboxMetrics(a.registry)}
}

// tell runs a command and returns what it prints.
func (b *xBook) tell(in string, args ...string) string {
	b.t.Helper()
	var out bytes.Buffer
	b.clock.add(time.Minute) // chance follows the clock
	env := steered(b.clock.Now(), strings.NewReader(in), &out, &out, func(name string) string { return b.variables[name] })
	if code := run(b.t.Context(), args, env); code != exitOK {
		b.t.Fatalf("%s: exit code %d: %s", strings.Join(args, " "), code, out.String())
	}
	return out.String()
}

// tweet has somebody tweet a command, takes it as the stream does, and returns its
// id and what became of it.
func (b *xBook) tweet(author, text string) (string, payments.Handled) {
	b.t.Helper()
	b.clock.add(time.Second)
	id := b.x.Tweet(author, text)
	found, err := b.worker.client.Lookup(b.t.Context(), []string{id})
	if err != nil || found[0].State != twitter.Found {
		b.t.Fatalf("tweet %s: %+v, %v", id, found, err)
	}
	return id, b.take(found[0].Message)
}

func (b *xBook) take(m payments.Message) payments.Handled {
	b.t.Helper()
	var handled payments.Handled
	w := b.worker
	w.observe = func(_ payments.Message, h payments.Handled) { handled = h }
	if err := w.receive(b.t.Context(), m); err != nil {
		b.t.Fatal(err)
	}
	return handled
}

func (b *xBook) rowsAbout(tweet string) []payments.OutboxRow {
	b.t.Helper()
	var about []payments.OutboxRow
	err := b.service.Engine().DB().Read(b.t.Context(), func(ctx context.Context, tx *sqldb.Tx) error {
		about = nil
		rows, err := payments.ListOutbox(ctx, tx, payments.OutboxFilter{Limit: 1000})
		for _, row := range rows {
			if row.InReplyTo == tweet {
				about = append(about, row)
			}
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return about
}

var (
	stampField = regexp.MustCompile(`name="stamp" value="([^"]+)"`)
	linkLine   = regexp.MustCompile(`(?m)^http://\S+/link/[0-9A-Za-z_-]{43}$`)
)

// TestACustomerLinksAnAccount walks through the bank's page and X's as a browser
// does, and back; then the account pays, is renamed, and is taken away.
func TestACustomerLinksAnAccount(t *testing.T) {
	b := newXBook(t)
	_, before := b.tweet(xOther, "@SmoneyFR #envoyer 5€ @yoann_test")
	if before.Outcome != payments.OutcomeRefused || before.Reason != payments.ReasonNotCustomer {
		t.Fatalf("before: %+v", before)
	}
	address := linkLine.FindString(b.tell("", "customer", "link-invite", "c-000001"))
	if address == "" {
		t.Fatal("no address is printed")
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	ask := func(method, address string, form url.Values) (*url.URL, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		if method == http.MethodPost {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		answer, err := browser.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %s, %v\n%s", method, address, answer.Status, err, body)
		}
		return answer.Request.URL, string(body)
	}
	_, body := ask(http.MethodGet, address, nil)
	stamp := stampField.FindStringSubmatch(body)
	if stamp == nil {
		t.Fatalf("no form:\n%s", body)
	}
	atX, _ := ask(http.MethodPost, address, url.Values{"stamp": {stamp[1]}, "code": {"274951"}})
	if !strings.HasSuffix(atX.Path, "/i/oauth2/authorize") || strings.Contains(atX.String(), "274951") || strings.Contains(atX.String(), address[strings.LastIndex(address, "/")+1:]) {
		t.Fatalf("the customer is at %s", atX)
	}
	_, body = ask(http.MethodPost, atX.String(), url.Values{"user": {xOther}})
	if !strings.Contains(body, "@marie_second est relié à votre compte") {
		t.Fatalf("the page says\n%s", body)
	}
	if n := b.x.LiveTokens(); n != 0 {
		t.Errorf("%d tokens are left at X", n)
	}

	_, handled := b.tweet(xOther, "@SmoneyFR #envoyer 5€ @yoann_test")
	if handled.Outcome != payments.OutcomeOrder {
		t.Fatalf("linked: %+v", handled)
	}
	b.x.AddUser(xOther, "marie_renamed", "Marie")
	b.x.AddUser("700000666", "marie_second", "somebody who took the name")
	if _, handled = b.tweet(xOther, "@SmoneyFR #envoyer 6€ @yoann_test"); handled.Outcome != payments.OutcomeOrder {
		t.Fatalf("renamed: %+v", handled)
	}
	if _, handled = b.tweet("700000666", "@SmoneyFR #envoyer 7€ @yoann_test"); handled.Outcome != payments.OutcomeRefused {
		t.Fatalf("who took the name: %+v", handled)
	}
	b.tell("", "customer", "unlink", "c-000001", "--twitter-id", xOther, "--reason", "sold")
	if _, handled = b.tweet(xOther, "@SmoneyFR #envoyer 8€ @yoann_test"); handled.Outcome != payments.OutcomeRefused {
		t.Fatalf("unlinked: %+v", handled)
	}
}

// browsing is a person at the terminal who opens the address that "login" prints, agrees
// as some account, and pastes the address on which the browser ends.
type browsing struct {
	b    *xBook
	out  *bytes.Buffer
	user string
	rest io.Reader
}

func (p *browsing) Read(into []byte) (int, error) {
	if p.rest == nil {
		address, _, _ := strings.Cut(p.out.String(), "\n")
		back, err := p.b.x.Authorize(address, p.user)
		if err != nil {
			return 0, err
		}
		p.rest = strings.NewReader(back + "\n")
	}
	return p.rest.Read(into)
}

func (b *xBook) login(user string) (int, string) {
	b.t.Helper()
	var out, errOut bytes.Buffer
	b.clock.add(time.Minute)
	env := steered(b.clock.Now(), &browsing{b: b, out: &out, user: user}, &out, &errOut, func(name string) string { return b.variables[name] })
	env.now = b.clock.Now
	return run(b.t.Context(), []string{"login"}, env), errOut.String()
}

// TestTheBankLogsInOnce: its token is renewed for ever, by one process or another.
func TestTheBankLogsInOnce(t *testing.T) {
	b := newXBook(t)
	delete(b.variables, "TWEETLEDGER_X_USER_TOKEN")
	file := filepath.Join(filepath.Dir(b.variables["TWEETLEDGER_CONFIG"]), "bank.token")
	for user, want := range map[string]string{xMarie: "the bank's account is 700000001", "": "nobody has agreed"} {
		if code, said := b.login(user); code != exitFailed || !strings.Contains(said, want) {
			t.Fatalf("as %q: exit code %d: %s", user, code, said)
		}
		if _, err := os.Stat(file); !os.IsNotExist(err) {
			t.Fatalf("as %q a token is kept: %v", user, err)
		}
	}
	if n := b.x.LiveTokens(); n != 0 {
		t.Fatalf("%d tokens of somebody else are left", n)
	}
	if code, said := b.login(xBank); code != exitOK {
		t.Fatalf("exit code %d: %s", code, said)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	_, first := b.process()
	_, second := b.process()
	used := map[string]bool{}
	for i := range 6 {
		id, _ := b.tweet(xMarie, "@SmoneyFR #envoyer 1€ @yoann_test")
		if _, err := []worker{first, second}[i%2].deliver(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := len(b.x.RepliesTo(id)); n != 1 {
			t.Fatalf("round %d: %d replies", i, n)
		}
		text, err := os.ReadFile(file)
		if err != nil || used[string(text)] {
			t.Fatalf("round %d: the token was not renewed (%v)", i, err)
		}
		used[string(text)] = true
		b.clock.add(3 * time.Hour)
	}

	// Nobody can renew what X has forgotten: replies wait until somebody logs in anew.
	if err := os.WriteFile(file, []byte(`{"access_token":"a","refresh_token":"forgotten"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	id, _ := b.tweet(xMarie, "@SmoneyFR #envoyer 1€ @yoann_test")
	if _, err := first.deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rows := b.rowsAbout(id); len(rows) != 1 || rows[0].Status != payments.OutboxPending || !strings.Contains(rows[0].LastError, "run: tweetledger login") {
		t.Fatalf("rows are %+v", rows)
	}
	if code, said := b.login(xBank); code != exitOK {
		t.Fatalf("exit code %d: %s", code, said)
	}
	b.clock.add(10 * time.Minute) // they are tried again every few minutes
	if _, err := first.deliver(t.Context()); err != nil || len(b.x.RepliesTo(id)) != 1 {
		t.Fatalf("%d replies after the new login, %v", len(b.x.RepliesTo(id)), err)
	}
}

// dying sends, and then the process dies before anybody is told.
type dying struct{ client *twitter.Client }

func (d dying) Reply(ctx context.Context, out payments.Outgoing) (string, error) {
	if _, err := d.client.Reply(ctx, out); err != nil {
		return "", err
	}
	panic("the process dies here")
}

// TestNothingIsSaidTwice ends the process between sending and marking, and loses X's
// answers, for replies and for direct messages.
func TestNothingIsSaidTwice(t *testing.T) {
	b := newXBook(t)
	written := func(tweet string) []string {
		var ids []string
		for _, r := range b.x.RepliesTo(tweet) {
			ids = append(ids, r.ID)
		}
		for _, d := range b.x.Directs(xMarie) {
			if d.From == xBank {
				ids = append(ids, d.ID)
			}
		}
		return ids
	}
	ask := map[string]func() string{
		"reply": func() string {
			id, _ := b.tweet(xMarie, "@SmoneyFR #envoyer 5€ @yoann_test")
			return id
		},
		"direct message": func() string {
			b.clock.add(time.Second)
			id := b.x.Direct(xMarie, xBank, "#envoyer 6€ @yoann_test")
			b.take(payments.Message{Channel: payments.DirectChannel(twitter.Channel), ID: id, FirstID: id, AuthorID: xMarie, AuthorHandle: "marie_test", Kind: payments.Direct,
				Text: "#envoyer 6€ @yoann_test", Mentions: []payments.Mention{{UserID: xYoann, Handle: "yoann_test"}}, CreatedAt: b.clock.Now(), Via: "direct"})
			return id
		},
	}
	for name, message := range ask {
		for how, fail := range map[string]func(){
			"the process dies": func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s: nothing was sent", name)
					}
				}()
				_, _ = b.service.Deliver(t.Context(), map[string]payments.Replier{twitter.Channel: dying{b.worker.client}, payments.DirectChannel(twitter.Channel): dying{b.worker.client}}, nil, 10)
			},
			"the answer is lost": func() {
				b.x.LoseAnswers(1)
				if _, err := b.worker.deliver(t.Context()); err != nil {
					t.Fatal(err)
				}
			},
		} {
			if _, err := b.worker.deliver(t.Context()); err != nil { // what went before
				t.Fatal(err)
			}
			before := len(b.x.Directs(xMarie))
			id := message()
			fail()
			rows := b.rowsAbout(id)
			if len(rows) != 1 || rows[0].Status != payments.OutboxPending || !rows[0].InDoubt {
				t.Fatalf("%s, %s: rows are %+v", name, how, rows)
			}
			b.clock.add(2 * time.Minute)
			_, second := b.process() // another process finds it
			if _, err := second.deliver(t.Context()); err != nil {
				t.Fatal(err)
			}
			rows = b.rowsAbout(id)
			said := written(id)
			if rows[0].Status != payments.OutboxSent || rows[0].InDoubt || !slices.Contains(said, rows[0].ExternalID) {
				t.Errorf("%s, %s: said %v, the row is %+v", name, how, said, rows[0])
			}
			if replies, directs := len(b.x.RepliesTo(id)), len(b.x.Directs(xMarie))-before; replies+directs != 1 {
				t.Errorf("%s, %s: %d replies and %d direct messages", name, how, replies, directs)
			}
		}
	}
}

// TestXIsLeftAloneUntilItsWindowOpens queues replies while X takes none: one asks,
// the others wait for the window, and no reply loses a try.
func TestXIsLeftAloneUntilItsWindowOpens(t *testing.T) {
	b := newXBook(t)
	var tweets []string
	for range 30 {
		id, _ := b.tweet(xYoann, "@SmoneyFR #envoyer 5€ @marie_test")
		tweets = append(tweets, id)
	}
	b.x.Fail(xsim.EndpointCreate, xsim.Failure{Status: http.StatusTooManyRequests, Times: 1, Reset: 15 * time.Minute})
	for range 20 {
		if _, err := b.worker.deliver(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.clock.add(10 * time.Second)
	}
	for _, id := range tweets {
		for _, row := range b.rowsAbout(id) {
			if row.Status != payments.OutboxPending || row.Attempts != 0 || row.InDoubt {
				t.Fatalf("while X takes none: %+v", row)
			}
		}
	}
	if asked := counter(t, b.app, "tweetledger_twitter_calls_total", map[string]string{"endpoint": "create"}); asked != 1 {
		t.Errorf("X was asked %v times", asked)
	}
	b.clock.add(12 * time.Minute)
	if _, err := b.worker.deliver(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, id := range tweets {
		if n := len(b.x.RepliesTo(id)); n != 1 {
			t.Fatalf("tweet %s has %d replies", id, n)
		}
	}
	if err := b.worker.outbox.measure(t.Context(), b.service.Engine()); err != nil {
		t.Fatal(err)
	}
	if waiting, sent := gauge(t, b.app, "tweetledger_outbox_pending"), counter(t, b.app, "tweetledger_outbox_deliveries_total", map[string]string{"result": "sent"}); waiting != 0 || sent < 30 {
		t.Errorf("%v wait, %v were sent", waiting, sent)
	}
}

// counter returns the value of a counter with these labels, over all others.
func counter(t *testing.T, a *app, name string, labels map[string]string) float64 {
	t.Helper()
	families, err := a.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
	metrics:
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				if want, ok := labels[label.GetName()]; ok && want != label.GetValue() {
					continue metrics
				}
			}
			sum += m.GetCounter().GetValue()
		}
	}
	return sum
}
