package derivation_test

import (
	"fmt"

	"pix/derivation"
	"pix/storepath"
)

func ExampleParse() {
	d, err := derivation.Parse(`Derive([("out","/nix/store/bi0l335fv146bda2c22180y58dspds10-greeting","","")],[],[],"x86_64-linux","/bin/sh",["-c","echo \"saying hello\"; echo \"hello from a build\" > $out"],[("name","greeting"),("out","/nix/store/bi0l335fv146bda2c22180y58dspds10-greeting")])`)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(d.Builder, d.Args[1])
	// Output: /bin/sh echo "saying hello"; echo "hello from a build" > $out
}

func ExampleDerivation_FillOutputPaths() {
	d := &derivation.Derivation{
		Name: "greeting", Dir: storepath.DefaultDir, Platform: "x86_64-linux", Builder: "/bin/sh",
		Args: []string{"-c", `echo "saying hello"; echo "hello from a build" > $out`},
	}
	d.Env.Set("name", "greeting")
	d.Env.Set("out", "")
	d.Outputs.Set("out", derivation.DeferredOutput())

	if err := d.FillOutputPaths(nil, nil); err != nil {
		fmt.Println(err)
		return
	}
	out, _ := d.Outputs.Get("out")
	path, err := d.Path()
	fmt.Println(out.Path())
	fmt.Println(path, err)
	// Output:
	// /nix/store/bi0l335fv146bda2c22180y58dspds10-greeting
	// /nix/store/acxzy3nc993rxfcmisqxip072179gjfp-greeting.drv <nil>
}
