package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"tweetledger/ledger"
	"tweetledger/ledger/engine"
)

// checkpointInterval is how often a run of verify is saved: what a crash costs, and
// far longer than saving takes.
const checkpointInterval = 5 * time.Second

// maxHeadsFiles bounds the files of heads that one run takes: a day's, every hour.
const maxHeadsFiles = 24

func (a *app) verifyCommand() *cobra.Command {
	var headsFiles []string
	var publicKey, checkpoint string
	c := &cobra.Command{
		Use:   "verify",
		Short: "Recompute the whole book from its postings and name every difference",
		Example: `  tweetledger verify --db sqlite:restored.db
  tweetledger verify --heads heads-2026-11.json --public-key seal.pem.pub`,
		Long: `verify reads every posting and hold, recomputes all balances from them, and checks
keys, reversals, holds, limits and the chains of the sealed journal. It changes nothing.
Exit code 3 where the book does not bear out what it says.

With --heads it also proves the book against heads that were signed earlier: an entry
that was changed, taken out, put in or re-dated since is named with its number, even
where all of the book was rewritten to agree with it. The signature is checked first;
--public-key says whose it must be.

With --checkpoint a run that was interrupted goes on where it was. It does not read again
what that run had read of the sealed journal, so it does not see what changed there
since; where somebody may have tampered with the book meanwhile, remove the file.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if publicKey != "" && len(headsFiles) == 0 {
				return usagef("--public-key goes with --heads; see: %s --help", c.CommandPath())
			}
			if len(headsFiles) > maxHeadsFiles {
				return usagef("--heads is given %d times, more than %d; see: %s --help", len(headsFiles), maxHeadsFiles, c.CommandPath())
			}
			var options engine.VerifyOptions
			for _, file := range headsFiles {
				heads, err := a.readHeads(file, publicKey)
				if err != nil {
					return err
				}
				options.Published = append(options.Published, heads...)
			}
			book, err := a.openBook(c.Context())
			if err != nil {
				return err
			}
			return a.verify(c.Context(), book, options, checkpoint)
		},
	}
	c.Flags().StringArrayVar(&headsFiles, "heads", nil, "signed heads to prove the book against (several times: several files)")
	c.Flags().StringVar(&publicKey, "public-key", "", "public key that the heads must be signed with")
	c.Flags().StringVar(&checkpoint, "checkpoint", "", "file to save the run in, and to go on from; removed at the end")
	return c
}

// readHeads reads a file of signed heads and checks who signed it.
func (a *app) readHeads(file, publicKey string) ([]ledger.Head, error) {
	var pinned ed25519.PublicKey
	if publicKey != "" {
		text, err := readBounded(publicKey, maxKeyText)
		if err != nil {
			return nil, fmt.Errorf("read the public key: %w", err)
		}
		if pinned, err = ledger.ParsePublicKey(text); err != nil {
			return nil, fmt.Errorf("%s: %w", publicKey, err)
		}
	}
	text, err := readBounded(file, ledger.MaxHeadsFile)
	if err != nil {
		return nil, fmt.Errorf("read signed heads: %w", err)
	}
	signed, err := ledger.ParseSignedHeads(text)
	if err == nil {
		err = signed.Verify(pinned)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	s, err := a.settings()
	if err != nil {
		return nil, err
	}
	if s.Seal.Book != "" && signed.Book != "" && s.Seal.Book != signed.Book {
		return nil, ledger.Errorf(ledger.CodeInvalid, "these are heads of the book %s; this one is %s (seal.book)", signed.Book, s.Seal.Book).InField(file)
	}
	line, err := signed.Text(ledger.MaxAnnouncement)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	fmt.Fprintf(a.out, "%s\n", line)
	if pinned == nil {
		fmt.Fprintf(a.out, "signed with key %s, which came with them; --public-key says whose it must be\n", ledger.KeyID(signed.PublicKey))
	} else {
		fmt.Fprintf(a.out, "signed with key %s\n", ledger.KeyID(signed.PublicKey))
	}
	return signed.List, nil
}

func (a *app) verify(ctx context.Context, book *engine.Engine, options engine.VerifyOptions, checkpoint string) error {
	if checkpoint != "" {
		if err := a.useCheckpoint(&options, checkpoint); err != nil {
			return err
		}
	}
	bar := a.progress(-1, "verifying")
	options.Progress = func(done, total int64) {
		bar.ChangeMax64(total)
		_ = bar.Set64(done)
	}
	report, err := book.VerifyBook(ctx, options)
	_ = bar.Finish()
	if err != nil {
		return err
	}
	if checkpoint != "" {
		if err := os.Remove(checkpoint); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove the checkpoint: %w", err)
		}
	}
	fmt.Fprintf(a.out, "read %s, %s, %s, %s\n", count(report.Transactions, "transaction"),
		count(report.Postings, "posting"), count(report.Holds, "hold"), count(report.Accounts, "account"))
	for _, d := range report.Differences {
		fmt.Fprintln(a.out, d)
	}
	if report.More > 0 {
		fmt.Fprintf(a.out, "… and %d more\n", report.More)
	}
	if !report.OK() {
		return &exitError{exitBreaks, "the book does not verify: " + count(int64(len(report.Differences))+report.More, "difference")}
	}
	fmt.Fprintln(a.out, "the book verifies")
	return nil
}

// useCheckpoint goes on from a checkpoint where there is one, and saves the run.
func (a *app) useCheckpoint(options *engine.VerifyOptions, file string) error {
	text, err := readBounded(file, engine.MaxCheckpoint)
	switch {
	case err == nil:
		resume, err := engine.ParseCheckpoint(text)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		options.Resume = &resume
		fmt.Fprintf(a.out, "going on from %s, after %s\n", file, count(resume.Postings, "posting"))
	case !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("read the checkpoint: %w", err)
	}
	saved := time.Time{}
	options.Save = func(c engine.Checkpoint) error {
		now := a.now()
		if now.Sub(saved) < checkpointInterval {
			return nil
		}
		saved = now
		content, err := c.Encode()
		if err != nil {
			return err
		}
		return writeFile(file, func(w io.Writer) error {
			_, err := w.Write(content)
			return err
		})
	}
	return nil
}

// progress returns a bar on a terminal, and one that stays silent elsewhere.
func (a *app) progress(total int64, what string) *progressbar.ProgressBar {
	_, visible := terminal(a.err)
	return progressbar.NewOptions64(total,
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetWriter(a.err),
		progressbar.OptionSetVisibility(visible),
		progressbar.OptionClearOnFinish(),
		progressbar.OptionShowCount(),
		progressbar.OptionThrottle(progressInterval),
	)
}
