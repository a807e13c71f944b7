package nixconf_test

import (
	"context"
	"fmt"

	"pix/nixconf"
)

func ExampleLoad() {
	env := map[string]string{
		"NIX_CONF_DIR": "/nowhere",
		"NIX_CONFIG":   "extra-trusted-users = @wheel\nsandbox = false\nsandbocks = true",
	}
	c, err := nixconf.Load(context.Background(), func(name string) string { return env[name] })
	if err != nil {
		fmt.Println(err)
		return
	}
	r := c.Reader()
	fmt.Println("trusted are", r.Words("trusted-users"))
	fmt.Println("the sandbox is", r.Text("sandbox"), "because of", c.Get("sandbox").Origin)
	fmt.Println(c.Warnings(), r.Err())
	// Output:
	// trusted are [root @wheel]
	// the sandbox is false because of NIX_CONFIG:2
	// [unknown setting 'sandbocks'] <nil>
}
