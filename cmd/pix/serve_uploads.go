package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"pix/cacheserver"
)

// uploadOptions are the flags of serve for uploads.
type uploadOptions struct {
	anyone     bool
	tokenFiles []string
	trusted    []string // files with tokens
	dir        string
	quota      int64 // bytes; 0 is the default
}

// addFlags adds the flags to serve.
func (o *uploadOptions) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&o.anyone, "accept-uploads", false, "accept uploads from every client, if a trusted key has signed them")
	flags.StringArrayVar(&o.tokenFiles, "upload-token-file", nil, "accept uploads from clients that send a token in this `file`, if a trusted key has signed them")
	flags.StringArrayVar(&o.trusted, "trusted-token-file", nil, "accept signed and unsigned uploads, and build logs, from clients that send a token in this `file`")
	flags.StringVar(&o.dir, "upload-dir", "", "the `directory` for uploaded archives whose narinfos have not arrived yet (default: a temporary one)")
	flags.Func("upload-quota", "the largest `size` of such archives of a client, with K, M, G or T (default 32G)", sizeFlag(&o.quota))
	freeValue(cmd, "upload-quota")
	for _, name := range []string{"upload-token-file", "trusted-token-file"} {
		completeFlag(cmd, name, completeFiles)
	}
	completeFlag(cmd, "upload-dir", completeDirs)
}

// isSet reports whether uploads are accepted.
func (o *uploadOptions) isSet() bool { return o.anyone || len(o.tokenFiles) > 0 || len(o.trusted) > 0 }

// check returns an error if the flags do not fit together.
func (o *uploadOptions) check() error {
	switch {
	case o.isSet():
		return nil
	case o.dir != "" || o.quota != 0:
		return errors.New("--upload-dir and --upload-quota need --accept-uploads, --upload-token-file or --trusted-token-file")
	}
	return nil
}

// uploads returns the options of the handler, or nil if no uploads are accepted.
func (a *app) uploads(ctx context.Context, o *uploadOptions) (*cacheserver.UploadOptions, error) {
	if !o.isSet() {
		return nil, nil
	}
	opts := &cacheserver.UploadOptions{Dir: o.dir, Quota: o.quota}
	if o.anyone {
		opts.Uploaders = append(opts.Uploaders, cacheserver.Uploader{Name: "anyone"})
	}
	for i, files := range [][]string{o.tokenFiles, o.trusted} {
		for _, file := range files {
			tokens, err := a.readTokens(ctx, file)
			if err != nil {
				return nil, err
			}
			for j, token := range tokens {
				name := fmt.Sprintf("%s, token %d", inputName(file), j+1)
				opts.Uploaders = append(opts.Uploaders, cacheserver.Uploader{Name: name, Token: token, Trusted: i == 1})
			}
		}
	}
	return opts, nil
}
