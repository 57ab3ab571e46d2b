// Command tweetledger is the whole back office of payments by tweet: the ledger,
// the Twitter adapter, the confirmation page, payouts, reconciliation and reports.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tweetledger/ledger"
)

// The exit codes. They are part of the command line's contract (docs/operations.md).
const (
	exitOK     = 0
	exitFailed = 1 // refused or failed; nothing was changed unless the output says so
	exitUsage  = 2 // the command line is wrong
	exitBreaks = 3 // reconciliation found breaks, verify found differences, or items of an import were refused
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	executable, _ := os.Executable() // "" where the system does not tell
	code := run(ctx, os.Args[1:], environment{
		executable: executable,
		in:         os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv, now: time.Now, random: rand.Reader,
	})
	stop()
	os.Exit(code)
}

// environment is what a command is given of the world.
type environment struct {
	in     io.Reader
	out    io.Writer
	err    io.Writer
	getenv func(string) string
	now    func() time.Time
	random io.Reader // of ids and salts; safe for concurrent use
	// executable is the file of this program, or "".
	executable string
}

// programName is how to run this program once more: "go run" keeps what it has built
// for as long as that runs.
func programName(executable string) string {
	if strings.Contains(filepath.ToSlash(executable), "/go-build") {
		return "go run ./cmd/tweetledger"
	}
	return "tweetledger"
}

// run carries out one command line and returns the exit code.
func run(ctx context.Context, args []string, env environment) int {
	a := &app{environment: env}
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(env.in)
	root.SetOut(env.out)
	root.SetErr(env.err)
	command, err := root.ExecuteContextC(ctx)
	if closeErr := a.close(); err == nil {
		err = closeErr
	}
	if err == nil {
		return exitOK
	}
	var quiet *exitError
	if errors.As(err, &quiet) {
		if quiet.message != "" {
			fmt.Fprintln(env.err, "tweetledger: "+quiet.message)
		}
		return quiet.code
	}
	fmt.Fprintln(env.err, "tweetledger: "+inOneLine(onCommandLine(command, err)))
	var usage *usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

// inOneLine joins the lines of a message, for scripts and logs that read it by lines.
// Database drivers write one line an attempt, often the same again: the last stays.
func inOneLine(message string) string {
	lines := strings.Split(message, "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	var kept []string
	for i, line := range lines {
		if line == "" || i+1 < len(lines) && strings.HasPrefix(lines[i+1], line) {
			continue
		}
		kept = append(kept, line)
	}
	return strings.Join(kept, " ")
}

// exitError ends the program with a code of its own.
type exitError struct {
	code    int
	message string
}

func (e *exitError) Error() string { return e.message }

// usageError is a command line that cannot be understood.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }

func (e *usageError) Unwrap() error { return e.err }

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "tweetledger",
		Short: "A double-entry ledger for payments by tweet",
		Long: `tweetledger keeps the books of a service whose customers pay by tweet: accounts and
postings, the tweets and the orders that they make, payouts to charities and the
bank's statements, and the checks that all of it agrees.

  tweetledger demo    tells the whole story, from a tweet to a charity's statement
  tweetledger init    makes a new book in the current folder

Every command takes the book from --db, else from TWEETLEDGER_DB:

  sqlite:FILE                 a file (default sqlite:tweetledger.db)
  postgres://USER@HOST/DB     a PostgreSQL database
  cockroach://USER@HOST/DB    a CockroachDB database

Exit codes: 0 done; 1 refused or failed; 2 the command line is wrong; 3 breaks or
differences were found, or items of an import could not be read.`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		Args:              cobra.NoArgs,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		if below, ok := errors.AsType[*pflag.NotExistError](err); ok && startsWithDigit(below.GetSpecifiedShortnames()) {
			return usagef("-%s is taken for an option; an amount is above zero, like 12.50; see: %s --help", below.GetSpecifiedShortnames(), c.CommandPath())
		}
		return &usageError{fmt.Errorf("%w; see: %s --help", err, c.CommandPath())}
	})
	flags := root.PersistentFlags()
	flags.StringVar(&a.dbURL, "db", "", "the book: sqlite:FILE, postgres://… or cockroach://… (default $TWEETLEDGER_DB, else sqlite:tweetledger.db)")
	flags.StringVar(&a.configFile, "config", "", "the configuration (default $TWEETLEDGER_CONFIG, else tweetledger.toml where there is one)")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "log what happens to standard error")
	for _, group := range []struct {
		id, title string
		commands  []*cobra.Command
	}{
		{"begin", "Begin:", []*cobra.Command{a.demoCommand(), a.initCommand(), a.migrateCommand(), a.rolesCommand(), a.loginCommand(), a.serveCommand()}},
		{"payments", "Payments by tweet:", []*cobra.Command{a.customerCommand(), a.payeeCommand(), a.cardCommand(), a.approvalCommand(), a.tweetsCommand(), a.orderCommand(), a.reviewCommand(), a.outboxCommand()}},
		{"bank", "Payouts and the bank:", []*cobra.Command{a.payoutCommand(), a.statementCommand(), a.settlementCommand()}},
		{"book", "The book and its checks:", []*cobra.Command{a.accountCommand(), a.postCommand(), a.reverseCommand(), a.transactionCommand(), a.periodCommand(), a.yearCommand(), a.reportCommand(), a.reconcileCommand(), a.breakCommand(), a.sealCommand(), a.verifyCommand()}},
	} {
		root.AddGroup(&cobra.Group{ID: group.id, Title: group.title})
		for _, command := range group.commands {
			command.GroupID = group.id
			root.AddCommand(command)
		}
	}
	root.AddCommand(a.versionCommand(), a.benchCommand(), a.xsimCommand(), a.cardsimCommand())
	wrapArgs(root)
	return root
}

func startsWithDigit(s string) bool { return s != "" && s[0] >= '0' && s[0] <= '9' }

// wrapArgs makes every wrong number of arguments, and every unknown subcommand, a usageError.
func wrapArgs(c *cobra.Command) {
	c.SuggestionsMinimumDistance = 2 // letters, as cobra itself takes for the root
	check := c.Args
	if check == nil {
		check = cobra.NoArgs
	}
	c.Args = func(c *cobra.Command, args []string) error {
		if check(c, args) != nil {
			return wrongArgs(c, args)
		}
		return missingFlag(c)
	}
	if c.HasSubCommands() && c.Run == nil && c.RunE == nil {
		c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	}
	for _, sub := range c.Commands() {
		wrapArgs(sub)
	}
}

// wrongArgs says what is wrong with the arguments of a command, and what would be right.
func wrongArgs(c *cobra.Command, args []string) error {
	if !c.HasSubCommands() {
		return usagef("wrong number of arguments (%d); write it like: %s", len(args), c.UseLine())
	}
	hint := ""
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf(" (perhaps %q)", near[0])
	}
	return usagef("there is no command %q%s; see: %s --help", strings.Join(append(strings.Fields(c.CommandPath()), args[0])[1:], " "), hint, c.CommandPath())
}

// required marks flags that a command cannot do without.
func required(c *cobra.Command, flags ...string) {
	for _, flag := range flags {
		if err := c.MarkFlagRequired(flag); err != nil {
			panic(err) // the command has no such flag: a mistake in this program
		}
	}
}

// missingFlag names the first flag that a command cannot do without and was not
// given. It comes before cobra's own check, whose error is not known to be one of
// the command line.
func missingFlag(c *cobra.Command) error {
	var missing error
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if missing == nil && !f.Changed && len(f.Annotations[cobra.BashCompOneRequiredFlag]) > 0 {
			missing = usagef("--%s is missing (%s); see: %s --help", f.Name, f.Usage, c.CommandPath())
		}
	})
	return missing
}

// usagef is an error of the command line.
func usagef(format string, args ...any) error {
	return &usageError{ledger.Errorf(ledger.CodeInvalid, format, args...)}
}
