;; Grows a table until somebody stops it: what it holds is the host's memory, not its own.
(module
  (table $t 1 funcref)
  (memory (export "memory") 1)
  (func (export "_start")
    (loop $again
      (drop (table.grow $t (ref.null func) (i32.const 65536)))
      (br $again))))
