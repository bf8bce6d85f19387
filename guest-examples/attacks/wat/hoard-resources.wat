;; Makes resources of its own without end: the table of their handles is memory of the host.
(component
  (type $thing (resource (rep i32)))
  (core func $new (canon resource.new $thing))
  (core module $main
    (import "host" "new" (func $new (param i32) (result i32)))
    (func (export "run") (result i32)
      (loop $again (drop (call $new (i32.const 7))) (br $again)) (i32.const 0)))
  (core instance $i (instantiate $main (with "host" (instance (export "new" (func $new))))))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $exports (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $exports)))
