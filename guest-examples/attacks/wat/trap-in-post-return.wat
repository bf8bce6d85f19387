;; Traps after its answer, when it should tidy up.
(component
  (core module $main
    (func (export "run") (result i32) (i32.const 0))
    (func (export "done") (param i32) unreachable))
  (core instance $i (instantiate $main))
  (func $run (result (result)) (canon lift (core func $i "run") (post-return (core func $i "done"))))
  (instance $exports (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $exports)))
