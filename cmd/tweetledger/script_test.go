package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"tweetledger/adapters/bank/banksim"
	"tweetledger/internal/payouts"
	"tweetledger/ledger"
)

// commands are what scripts can do besides running tweetledger:
//
//	book [people|paid]       begin with a book. people, as in people.txtar: Marie (c-000001, @marie_test,
//	                         200.00 EUR, code 274951), Yoann (c-000002, @yoann_test, code 836402) and the
//	                         charity acf (@ACF_France). paid: Marie has sent Yoann 12.99 EUR and acf
//	                         100.00 EUR, and Yoann acf 5.00 EUR; the acquirer has settled the 200.00 EUR
//	clock INSTANT            when the next command runs; each takes a minute
//	exits CODE PROGRAM …     run a program that ends with this exit code
//	bank OPENING PAIN CAMT   be the bank: execute a payment file and write the statement of the day
//	bankreport ID STATUS REASON PAIN PAIN002   be the bank: report on a payment file, all of whose transfers
//	                         have this status (ACCP, RJCT …) and reason ("" for none)
//	oneline FILE             the file is exactly one line (of a sensible length)
//	remember, unchanged      take down the state of the book; see that not one row of it has changed since
//	                         ("book" takes it down too)
//	seal                     seal what waits, as "serve" does
//	tamper SQL               change the book behind the program's back
//	fill FILE                replace the word MEGABYTE in the file with a megabyte of text
//	swap OLD NEW FROM TO     write the file FROM as TO, with NEW for its one OLD
//	start PROGRAM …          run a server in the background, and wait until it says its address ($ADDRESS)
//	said PATTERN             wait until a line that the server prints matches
//	fetch URL                print the status and body that a server answers
//	logged PATTERN           wait until a line of the log matches
//	interrupt                stop the server as Ctrl-C does
func commands() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	return map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"book": book, "clock": clock, "exits": exits, "bank": bankDay, "bankreport": bankReport, "oneline": oneLine,
		"remember": remember, "unchanged": unchanged, "seal": sealBook, "tamper": tamper, "fill": fill, "swap": swap,
		"start": start, "said": said, "fetch": fetch, "logged": logged, "interrupt": interrupt,
	}
}

func need(ts *testscript.TestScript, neg, ok bool, usage string) {
	if neg || !ok {
		ts.Fatalf("usage: %s", usage)
	}
}

func clock(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "clock INSTANT")
	now, err := time.Parse(time.RFC3339, args[0])
	ts.Check(err)
	ts.Check(setClock(ts.Getenv(clockVariable), now))
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) >= 2, "exits CODE PROGRAM [ARG…]")
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		failed, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("run %s: %v", args[1], err)
		}
		code = failed.ExitCode()
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d, not %s", code, args[0])
	}
}

// longestLine is what fits three rows of a terminal: more is not one clear line.
const longestLine = 300

func oneLine(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "oneline FILE")
	text := ts.ReadFile(args[0])
	if strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "\n") || len(text) > longestLine {
		ts.Fatalf("not one line of at most %d bytes:\n%s", longestLine, text)
	}
}

// swap writes a file anew with another text in one place.
func swap(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 4, "swap OLD NEW FROM TO")
	text := ts.ReadFile(args[2])
	if n := strings.Count(text, args[0]); n != 1 {
		ts.Fatalf("%s has %q %d times", args[2], args[0], n)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[3]), []byte(strings.Replace(text, args[0], args[1], 1)), 0o600))
}

// bankDay executes a payment file on the day on which the script is.
func bankDay(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 3, "bank OPENING PAIN001 CAMT053")
	opening, err := ledger.ParseAmount(args[0], ledger.EUR)
	ts.Check(err)
	var s settings
	a := &app{environment: environment{getenv: func(string) string { return "" }}, configFile: ts.MkAbs(defaultConfig)}
	s, err = a.settings()
	ts.Check(err)
	now, err := time.Parse(time.RFC3339, ts.ReadFile(ts.Getenv(clockVariable)))
	ts.Check(err)
	day, err := ledger.ParseDate(now.Format(time.DateOnly))
	ts.Check(err)
	statement, err := banksim.Statement(strings.NewReader(ts.ReadFile(args[1])), banksim.Options{
		ID: "STMT-" + now.Format("0102"), Sequence: int64(now.YearDay()), Account: s.payouts().Account, CreatedAt: now, BookingDate: day, Opening: opening,
		Extra: []banksim.Extra{{Amount: 17_00, Counterparty: payouts.Party{Name: "M DUPONT", IBAN: "FR7630004000031234567890143"}, Remittance: "COTISATION"}},
	})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), statement, 0o600))
}

// bankReport reports on a payment file.
func bankReport(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 5, "bankreport ID STATUS REASON PAIN001 PAIN002")
	sent := ts.ReadFile(args[3])
	o := banksim.ReportOptions{ID: args[0], CreatedAt: firstMinute, Status: payouts.StatusPartial, Transfers: map[string]banksim.Verdict{}}
	for _, rest := range strings.Split(sent, "<EndToEndId>")[1:] {
		id, _, _ := strings.Cut(rest, "<")
		o.Transfers[id] = banksim.Verdict{Status: payouts.Status(args[1]), Reason: args[2]}
	}
	report, err := banksim.Report(strings.NewReader(sent), o)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[4]), report, 0o600))
}

// preparedBooks are the books that scripts begin with, by name, made once.
var preparedBooks = sync.OnceValues(makeBooks)

// orderOf stands before the id of a tweet in an argument that is the order's id.
const orderOf = "order of "

// step is a command of the story and what it reads from standard input.
type step struct {
	in   string
	args []string
}

func do(in string, args ...string) step { return step{in, args} }

// peopleSteps are the commands of people.txtar.
func peopleSteps() []step {
	return []step{
		do("", "init"),
		do("", "customer", "add", "--name", "Marie Laurent", "--phone", "+33612000101"),
		do("", "customer", "add", "--name", "Yoann Petit", "--phone", "+33612000102", "--named"),
		do("", "customer", "link", "c-000001", "--twitter-id", "700000101", "--handle", "marie_test"),
		do("", "customer", "link", "c-000002", "--twitter-id", "700000102", "--handle", "yoann_test"),
		do("274951\n", "customer", "code", "c-000001"),
		do("836402\n", "customer", "code", "c-000002"),
		do("", "customer", "topup", "c-000001", "200.00", "--reference", "card-1"),
		do("", "approval", "approve", "1", "--actor", "bruno"),
		do("", "payee", "add", "acf", "--name", "Action contre la Faim", "--iban", "FR1420041010050500013M02606", "--commission", "150"),
		do("", "payee", "approve", "acf", "1", "--actor", "bruno"),
		do("", "payee", "link", "acf", "--twitter-id", "700000201", "--handle", "ACF_France"),
	}
}

// paidSteps go on from there.
func paidSteps() []step {
	tweet := func(id, author, text, mention string) string {
		return `{"id":"` + id + `","text":"` + text + `","author_id":"` + author + `","created_at":"2026-11-20T08:30:00.000Z",` +
			`"entities":{"mentions":[{"username":"SmoneyFR","id":"700000001"},` + mention + `]}}` + "\n"
	}
	const yoann, charity = `{"username":"yoann_test","id":"700000102"}`, `{"username":"ACF_France","id":"700000201"}`
	tweets := tweet("1990000000000000001", "700000101", "@SmoneyFR #envoyer 12,99€ @yoann_test merci !", yoann) +
		tweet("1990000000000000002", "700000101", "@SmoneyFR #don 100EUR @ACF_France", charity) +
		tweet("1990000000000000003", "700000102", "@SmoneyFR #don 5 € @ACF_France", charity)
	confirm := func(code, tweet string) step {
		return do(code+"\n", "order", "confirm", orderOf+tweet)
	}
	return []step{
		do("", "post", "--key", "settlement-1", "--label", "Card settlement", "--line", "safeguarding-account,cards-to-settle,200.00"),
		do("", "customer", "topup", "c-000002", "10.00", "--reference", "card-2"),
		do("", "approval", "approve", "2", "--actor", "bruno"),
		do(tweets, "tweets", "import", "-"),
		confirm("274951", "1990000000000000001"),
		confirm("274951", "1990000000000000002"),
		confirm("836402", "1990000000000000003"),
	}
}

func makeBooks() (map[string][]byte, error) {
	dir, err := os.MkdirTemp("", "tweetledger-test-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := cheapSecrets(dir); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "book.db")
	variables := map[string]string{"TWEETLEDGER_DB": "sqlite:" + file, "TWEETLEDGER_CONFIG": filepath.Join(dir, defaultConfig),
		"TWEETLEDGER_KEY": testKey, "TWEETLEDGER_ACTOR": "anne"}
	now := firstMinute.Add(-time.Hour)
	tell := func(s step) (string, error) {
		var out bytes.Buffer
		env := steered(now, strings.NewReader(s.in), &out, &out, func(name string) string { return variables[name] })
		if code := run(context.Background(), s.args, env); code != exitOK {
			return "", fmt.Errorf("%s: exit code %d: %s", strings.Join(s.args, " "), code, out.String())
		}
		return out.String(), nil
	}
	books := map[string][]byte{}
	for _, part := range []struct {
		name  string
		steps []step
	}{{"people", peopleSteps()}, {"paid", paidSteps()}} {
		for _, s := range part.steps {
			if tweet, ok := strings.CutPrefix(s.args[len(s.args)-1], orderOf); ok {
				list, err := tell(do("", "order", "list", "--format", "csv"))
				if err != nil {
					return nil, err
				}
				before, _, _ := strings.Cut(list, ",twitter:"+tweet)
				s.args[len(s.args)-1] = before[strings.LastIndexByte(before, '\n')+1:]
			}
			if _, err := tell(s); err != nil {
				return nil, err
			}
			if !slices.Contains(s.args, "topup") { // which is approved in the same minute
				now = now.Add(time.Minute)
			}
		}
		if books[part.name], err = os.ReadFile(file); err != nil {
			return nil, err
		}
	}
	return books, nil
}

func book(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) <= 1, "book [people|paid]")
	books, err := preparedBooks()
	ts.Check(err)
	name := append(args, "people")[0]
	if books[name] == nil {
		ts.Fatalf("there is no book %s", name)
	}
	ts.Check(os.WriteFile(ts.MkAbs("tweetledger.db"), books[name], 0o600))
	remember(ts, false, nil)
}

// server is a program that runs in the background of a script.
type server struct {
	command *exec.Cmd
	out     *bufio.Reader
	err     bytes.Buffer
}

type serverKey struct{}

// patience of a script with a server, on a loaded machine.
const scriptPatience = 30 * time.Second

var addressPattern = regexp.MustCompile(`http://\S+`)

func start(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) >= 1, "start PROGRAM [ARG…]")
	path, err := exec.LookPath(args[0])
	ts.Check(err)
	s := &server{command: exec.Command(path, args[1:]...)}
	s.command.Dir, s.command.Stderr = ts.MkAbs("."), &s.err
	s.command.Env = os.Environ()
	for _, name := range []string{clockVariable, logVariable, "TWEETLEDGER_KEY", "TWEETLEDGER_ACTOR", "TWEETLEDGER_DB"} {
		s.command.Env = append(s.command.Env, name+"="+ts.Getenv(name))
	}
	pipe, err := s.command.StdoutPipe()
	ts.Check(err)
	s.out = bufio.NewReader(pipe)
	ts.Check(s.command.Start())
	ts.Defer(func() { _ = s.command.Process.Kill() }) // it has ended, unless the script failed
	overdue := time.AfterFunc(scriptPatience, func() { _ = s.command.Process.Kill() })
	line, err := s.out.ReadString('\n')
	overdue.Stop()
	if err != nil {
		ts.Fatalf("%s ended before it said its address: %v\n%s", args[0], err, s.err.String())
	}
	ts.Setenv("ADDRESS", addressPattern.FindString(line))
	ts.Value(serverKey{}).(*servers).running = s
	fmt.Fprint(ts.Stdout(), line)
}

// said reads what a server prints, until a line matches.
func said(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(serverKey{}).(*servers).running
	need(ts, neg, len(args) == 1 && s != nil, "said PATTERN (after start)")
	pattern, err := regexp.Compile(args[0])
	ts.Check(err)
	overdue := time.AfterFunc(scriptPatience, func() { _ = s.command.Process.Kill() })
	defer overdue.Stop()
	for {
		line, err := s.out.ReadString('\n')
		if pattern.MatchString(strings.TrimSuffix(line, "\n")) {
			return
		}
		if err != nil {
			ts.Fatalf("the server ended before it said %s: %v", args[0], err)
		}
	}
}

// logInterval is how often "logged" looks.
const logInterval = 20 * time.Millisecond

func logged(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "logged PATTERN")
	pattern, err := regexp.Compile(`(?m)^time=.*` + args[0])
	ts.Check(err)
	overdue := time.After(scriptPatience)
	look := time.NewTicker(logInterval)
	defer look.Stop()
	for {
		if pattern.MatchString(ts.ReadFile(ts.Getenv(logVariable))) {
			return
		}
		select {
		case <-look.C:
		case <-overdue:
			ts.Fatalf("no line of the log matches %s", args[0])
		}
	}
}

// servers holds the server of a script.
type servers struct{ running *server }

func fetch(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "fetch URL")
	client := &http.Client{Timeout: scriptPatience}
	response, err := client.Get(args[0])
	ts.Check(err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxPage))
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%s\n%s", response.Status, body)
}

func interrupt(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(serverKey{}).(*servers).running
	need(ts, neg, len(args) == 0 && s != nil, "interrupt (after start)")
	ts.Check(s.command.Process.Signal(os.Interrupt))
	overdue := time.AfterFunc(scriptPatience, func() { _ = s.command.Process.Kill() })
	defer overdue.Stop()
	rest, err := io.ReadAll(s.out)
	ts.Check(err)
	err = s.command.Wait()
	fmt.Fprintf(ts.Stdout(), "%s", rest)
	fmt.Fprint(ts.Stderr(), s.err.String())
	ts.Check(err)
}

// What only a customer may know: the secret codes of the scripts and of the demo,
// links to confirmation pages with their tokens, whole telephone numbers.
var (
	codePattern    = regexp.MustCompile(`\b(274951|836402|591773|111111|000000)\b`)
	confirmPattern = regexp.MustCompile(`/confirm/[0-9A-Za-z_-]{8,}`)
	phonePattern   = regexp.MustCompile(`(\+|00)33[ .]?[67]([ .]?[0-9]){8}|\b0[67][0-9]{8}\b`)
)

// examplePhone stands in help and errors.
const examplePhone = "+33612345678"

// secretIn names what a line gives away, or returns "".
func secretIn(line string) string {
	switch {
	case codePattern.MatchString(line):
		return "a secret code"
	case confirmPattern.MatchString(line):
		return "a confirmation link"
	case phonePattern.MatchString(strings.ReplaceAll(line, examplePhone, "")):
		return "a telephone number"
	}
	return ""
}

// The check of all scripts for secrets finds them.
func TestSecretIn(t *testing.T) {
	for line, secret := range map[string]bool{
		`time=2026-11-20 level=INFO msg="checked" code=274951`:               true,
		`open http://127.0.0.1:8080/confirm/8Yt-0kQ_p3GdQ2mC to confirm`:     true,
		`msg=notice phone=+33612000101`:                                      true,
		`msg=notice phone=0033612000101`:                                     true,
		`msg=notice phone="06 12"`:                                           false,
		`msg=notice phone=+336******01 link=http://127.0.0.1:8080/confirm/…`: false,
		`posted order 27495100-0000-5000-8000-000000274951x`:                 false,
	} {
		if got := secretIn(line) != ""; got != secret {
			t.Errorf("secretIn(%q) finds something: %v, want %v", line, got, secret)
		}
	}
}
