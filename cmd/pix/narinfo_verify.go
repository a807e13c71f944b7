package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pix/narinfo"
	"pix/signature"
)

func newNARInfoVerify(a *app) *cobra.Command {
	var keys []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "narinfo-verify --trusted-public-keys KEYS NARINFO...",
		Short: "Check that .narinfo files are signed by a trusted key",
		Long: `Check that .narinfo files are signed by a trusted key: a line for each file, "verified" with the
names of the keys whose signatures are valid, or "failed" with the reason. As in Nix, a
content-addressed object needs no signature, unless it refers to itself: in Nix 2.17 to 2.34
different objects can then have the same path. The exit code is 1 if a file failed.`,
		Example: "  pix narinfo-verify --trusted-public-keys \"$(cat public-key)\" cache/*.narinfo",
		GroupID: groupKeys,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(keys) == 0 {
				return wrongUse(cmd, errors.New("no --trusted-public-keys are given"))
			}
			trusted, err := signature.ParseKeySet(strings.Join(keys, " "))
			if err != nil {
				return wrongUse(cmd, err)
			}
			return a.verifyNARInfos(cmd.Context(), args, trusted, asJSON)
		},
	}
	cmd.Flags().StringArrayVar(&keys, "trusted-public-keys", nil, "public `keys`, with spaces between them")
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	freeValue(cmd, "trusted-public-keys")
	return cmd
}

// A narinfoVerdict is the result of narinfo-verify for a file.
type narinfoVerdict struct {
	File             string   `json:"file"`
	Path             *string  `json:"path"`
	Verified         bool     `json:"verified"`
	Keys             []string `json:"keys"`
	ContentAddressed bool     `json:"contentAddressed"`
	Reason           *string  `json:"reason"` // why it failed
}

// verifyNARInfos prints a verdict for each file.
func (a *app) verifyNARInfos(ctx context.Context, files []string, trusted signature.KeySet, asJSON bool) error {
	verdicts := []narinfoVerdict{}
	good := true
	for _, file := range files {
		v, err := a.verifyNARInfo(ctx, file, trusted)
		if err == nil && !asJSON {
			err = a.print(v.line())
		}
		if err != nil {
			return err
		}
		good = good && v.Verified
		if asJSON {
			verdicts = append(verdicts, v)
		}
	}
	if asJSON {
		if err := a.printJSON(verdicts); err != nil {
			return err
		}
	}
	if !good {
		return &silentError{exitNo}
	}
	return nil
}

// verifyNARInfo verifies one file. The error says why the file cannot be read; an invalid file is a failed one.
func (a *app) verifyNARInfo(ctx context.Context, file string, trusted signature.KeySet) (narinfoVerdict, error) {
	v := narinfoVerdict{File: file, Keys: []string{}}
	info, err := a.readNARInfo(ctx, file)
	var invalid *narinfo.SyntaxError
	if errors.As(err, &invalid) {
		v.Reason = orNull(invalid.Error())
		return v, nil
	}
	if err != nil {
		return v, err
	}
	v.judge(info, trusted)
	return v, nil
}

// judge sets the verdict from the signatures and the content address.
func (v *narinfoVerdict) judge(info *narinfo.NarInfo, trusted signature.KeySet) {
	v.Path = orNull(string(info.Path))
	v.ContentAddressed = info.IsContentAddressed()
	signatures, err := info.CheckSignatures(trusted)
	for _, s := range signatures {
		v.Keys = append(v.Keys, s.KeyName())
	}
	refersToItself := slices.Contains(info.References, info.Path)
	v.Verified = len(signatures) > 0 || v.ContentAddressed && !refersToItself
	switch {
	case v.Verified:
	case v.ContentAddressed:
		v.Reason = orNull("it refers to itself, so other contents may have the same content address, and it has no valid signature by a trusted key")
	case err != nil:
		v.Reason = orNull(err.Error())
	case len(info.Signatures) == 0:
		v.Reason = orNull("it is not signed")
	default:
		v.Reason = orNull("it has no valid signature by a trusted key")
	}
}

// line returns the verdict as a line of text.
func (v *narinfoVerdict) line() string {
	switch {
	case !v.Verified:
		return fmt.Sprintf("failed %s: %s\n", v.File, oneLine(*v.Reason))
	case len(v.Keys) == 0:
		return fmt.Sprintf("verified %s: its path follows from its contents\n", v.File)
	}
	return fmt.Sprintf("verified %s: signed by %s\n", v.File, strings.Join(v.Keys, ", "))
}
