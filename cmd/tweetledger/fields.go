package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tweetledger/ledger"
)

// onCommandLine returns an error's message with the name of the field that it is
// about as c has it: its flag, or its argument. Fields that are neither keep theirs.
func onCommandLine(c *cobra.Command, err error) string {
	message := err.Error()
	refused, ok := errors.AsType[*ledger.Error](err)
	if !ok || c == nil || refused.Error() == refused.Message {
		return message
	}
	name := fieldOf(c, refused.Field)
	if name == refused.Field {
		return message
	}
	return strings.Replace(message, refused.Error(), name+": "+refused.Message, 1)
}

func fieldOf(c *cobra.Command, field string) string {
	var posting int
	if _, err := fmt.Sscanf(field, "postings[%d]", &posting); err == nil && c.Flags().Lookup("line") != nil {
		return lineName(posting)
	}
	if strings.HasPrefix(field, "postings[") && c.Flags().Lookup("posting") != nil {
		return "--posting"
	}
	flag, argument := strings.ReplaceAll(field, "_", "-"), strings.ToUpper(field)
	switch field { // requests have other names for these
	case "effective_date":
		flag = "date"
	case "source.id":
		flag = "key"
	case "key": // a top-up's is made of its reference
		if c.Flags().Lookup("key") == nil {
			flag = "reference"
		}
	case "transaction_id":
		argument = "TRANSACTION"
	}
	if c.Flags().Lookup(flag) != nil {
		return "--" + flag
	}
	for _, word := range strings.Fields(c.Use)[1:] {
		if strings.Trim(word, "[]…") == argument {
			return argument
		}
	}
	return field
}

// lineName names a posting of a voucher, which the ledger counts from 0.
func lineName(posting int) string { return fmt.Sprintf("--line %d", posting+1) }
